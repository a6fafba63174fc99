// Push to a URL: what is posted, when it is repeated, and what becomes of what its receiver refuses.
import { createHmac } from "node:crypto";
import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect } from "vitest";
import { eventually, expectProblem, queuePath, withBroker } from "./harness.ts";

const it = withBroker();

interface Hit {
  headers: IncomingHttpHeaders;
  body: string;
}

/** Answers to give in turn: a status, or a status with Retry-After; then 204. */
type Answers = (number | { status: number; retryAfter: string })[];

/** A receiver of webhooks on loopback. */
class Receiver {
  readonly hits: Hit[] = [];
  /** Requests that wait for `release`. */
  readonly held: (() => void)[] = [];
  most = 0;
  readonly #answers: Answers;
  readonly #hold: boolean;
  readonly #server: Server;

  constructor(answers: Answers, hold: boolean) {
    this.#answers = answers;
    this.#hold = hold;
    this.#server = createServer(async (request, response) => {
      let body = "";
      for await (const part of request) body += part;
      this.hits.push({ headers: request.headers, body });
      const answer = this.#answers.shift() ?? 204;
      const end = () => {
        if (typeof answer === "object") response.setHeader("retry-after", answer.retryAfter);
        response.statusCode = typeof answer === "number" ? answer : answer.status;
        response.end(response.statusCode >= 400 ? "not now" : "");
      };
      if (!this.#hold) return end();
      this.held.push(end);
      this.most = Math.max(this.most, this.held.length);
    });
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/hook`;
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

const receivers: Receiver[] = [];

async function receiver(answers: Answers = [], hold = false): Promise<{ url: string; hooks: Receiver }> {
  const hooks = new Receiver(answers, hold);
  receivers.push(hooks);
  return { url: await hooks.listen(), hooks };
}

afterEach(() => {
  for (const hooks of receivers.splice(0)) hooks.close();
});

describe("push to a URL", () => {
  it("[PSH1] [PSH2] [PSH3] posts each message, signed as Standard Webhooks has it, and settles it by the answer", async ({
    world,
  }) => {
    const { url, hooks } = await receiver();
    const secret = `whsec_${Buffer.from("a secret of some length").toString("base64")}`;
    const path = `${queuePath("q")}/push`;
    const put = await world.call("PUT", path, { url, secret, headers: { "x-shop": "north" } });
    expect(put).toMatchObject({
      status: 201,
      body: { url, concurrency: 10, timeoutMs: 30_000, signed: true },
    });
    expect(JSON.stringify(put.body)).not.toContain("whsec");
    const wire = await world.connect();
    const headers = { colour: "rød", traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" };
    await wire.ok({ op: "publish", to: "queue:q", body: { n: "ü" }, messageId: "m 1", group: "g", headers });
    await eventually(async () => expect(await world.stats("q")).toMatchObject({ settled: 1, leased: 0 }));
    const [hit] = hooks.hits;
    expect(hit!.body).toBe('{"n":"ü"}');
    expect(hit!.headers).toMatchObject({
      ...{ "content-type": "application/json", "x-shop": "north", "dunlin-queue": "q", "dunlin-seq": "1" },
      ...{ "dunlin-attempt": "1", "dunlin-message-id": "m 1", "dunlin-group": "g" },
      ...{ "dunlin-header-colour": "r%C3%B8d", traceparent: headers.traceparent },
    });
    const id = String(hit!.headers["webhook-id"]);
    const signed = `${id}.${hit!.headers["webhook-timestamp"]}.${hit!.body}`;
    const expected = createHmac("sha256", "a secret of some length").update(signed).digest("base64");
    expect(hit!.headers["webhook-signature"]).toBe(`v1,${expected}`);
    expect((await world.call("GET", path)).body).toMatchObject({ delivered: 1, failed: 0 });
  });

  it("[PSH4] [PSH5] is repeated under the same id until it is taken, and waits as Retry-After asks", async ({
    world,
  }) => {
    const { url, hooks } = await receiver([500, { status: 429, retryAfter: "0.2" }, 302]);
    await world.declare("q", { backoff: { kind: "fixed", baseMs: 20 } });
    await world.call("PUT", `${queuePath("q")}/push`, { url });
    await world.publish("q", "x");
    await eventually(async () => expect(await world.stats("q")).toMatchObject({ settled: 1 }));
    expect(new Set(hooks.hits.map(({ headers }) => headers["webhook-id"])).size).toBe(1);
    expect(hooks.hits.map(({ headers }) => headers["dunlin-attempt"])).toEqual(["1", "2", "3", "4"]);
    expect((await world.call("GET", `${queuePath("q")}/push`)).body).toMatchObject({
      ...{ delivered: 1, failed: 3, lastError: "HTTP 302" },
    });
  });

  it("[PSH4] no two messages share an id, of queues made at the same time either", async ({ world }) => {
    const { url, hooks } = await receiver();
    const queues = Array.from({ length: 8 }, (_, n) => `q${n}`);
    await Promise.all(queues.map((queue) => world.call("PUT", `${queuePath(queue)}/push`, { url })));
    await Promise.all(queues.map((queue) => world.publish(queue, "x", { "dunlin-header-rate": "5 %" })));
    await eventually(() => expect(hooks.hits).toHaveLength(queues.length));
    expect(new Set(hooks.hits.map(({ headers }) => headers["webhook-id"])).size).toBe(queues.length);
    expect(hooks.hits[0]!.headers["dunlin-header-rate"], "[PSH1]").toBe("5 %25");
  });

  it("[PSH5] what is refused too often is a dead letter with the reason", async ({ world }) => {
    const { url } = await receiver([500, 500]);
    await world.declare("q", { maxFailures: 2, backoff: { kind: "fixed", baseMs: 10 } });
    await world.call("PUT", `${queuePath("q")}/push`, { url });
    await world.publish("q", "x");
    await eventually(async () => expect(await world.peek("q.dead")).toHaveLength(1));
    expect((await world.peek("q.dead"))[0]!.deaths).toMatchObject([
      { queue: "q", reason: "failures", count: 1, detail: "HTTP 500: not now" },
    ]);
  });

  it("[PSH6] no more than `concurrency` are under way; the others are ready", async ({ world }) => {
    const { url, hooks } = await receiver([], true);
    await world.call("PUT", `${queuePath("q")}/push`, { url, concurrency: 3 });
    for (let n = 0; n < 8; n++) await world.publish("q", n);
    await eventually(() => expect(hooks.held).toHaveLength(3));
    expect(await world.stats("q")).toMatchObject({ leased: 3, ready: 5 });
    await eventually(async () => {
      for (const end of hooks.held.splice(0)) end();
      expect(await world.stats("q")).toMatchObject({ settled: 8 });
    });
    expect(hooks.most).toBe(3);
  });

  it("[PSH7] what was under way when the broker died is pushed again after it", async ({ world }) => {
    const { url, hooks } = await receiver([], true);
    await world.call("PUT", `${queuePath("q")}/push`, { url });
    await world.publish("q", "x");
    await eventually(() => expect(hooks.held).toHaveLength(1));
    await world.broker.restart();
    // Its alarm or its next call wakes the queue.
    await world.stats("q");
    await eventually(() => expect(hooks.hits).toHaveLength(2));
    for (const end of hooks.held) end();
    await eventually(async () => expect(await world.stats("q")).toMatchObject({ settled: 1 }));
  });

  it("[PSH8] ends with DELETE, which gives back what is under way", async ({ world }) => {
    const { url, hooks } = await receiver([], true);
    const path = `${queuePath("q")}/push`;
    await world.call("PUT", path, { url });
    await world.publish("q", "x");
    await eventually(() => expect(hooks.held).toHaveLength(1));
    expect((await world.call("DELETE", path)).status).toBe(204);
    expect(await world.stats("q")).toMatchObject({ ready: 1, consumers: 0 });
    expectProblem(await world.call("DELETE", path), 404, 4, "not-found");
    expectProblem(await world.call("GET", path), 404, 4, "not-found");
  });

  it("[PSH9] what cannot be is refused, and named", async ({ world }) => {
    const path = `${queuePath("q")}/push`;
    for (const wrong of [
      {},
      { url: "ftp://example.com/" },
      { url: "nonsense" },
      { url: "https://ann:secret@example.com/" },
      { url: "https://example.com/", service: "HANDLER_A" },
      { url: "https://example.com/", concurrency: 0 },
      { url: "https://example.com/", timeoutMs: 10 },
      { url: "https://example.com/", secret: "short" },
      { url: "https://example.com/", headers: { host: "elsewhere" } },
      { url: "https://example.com/", headers: { "webhook-id": "1" } },
      { url: "https://example.com/", headers: { "x y": "1" } },
      { service: "QUEUE" },
      { service: "HANDLER_NONE" },
    ]) {
      expectProblem(await world.call("PUT", path, wrong), 400, 1, "bad-field");
    }
    expectProblem(await world.call("GET", path), 404, 4, "not-found");
  });
});
