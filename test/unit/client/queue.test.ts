import { afterEach, describe, expect, it } from "vitest";
import { DunlinError } from "../../../client/index.ts";
import { type Scripted, scripted } from "./scripted-socket.ts";

let open: Scripted[] = [];
const client = (...options: Parameters<typeof scripted>) => {
  const made = scripted(...options);
  open.push(made);
  return made;
};

afterEach(async () => {
  for (const { dunlin } of open) await dunlin.close({ timeoutMs: 0 });
  open = [];
});

describe("send", () => {
  it("[CLI2] resolves with the broker's receipt, not before", async () => {
    const tab = client();
    const socket = await tab.opened();
    let receipt: unknown;
    const sent = tab.dunlin
      .queue("jobs")
      .send({ n: 1 })
      .then((result) => {
        receipt = result;
      });
    const [publish] = await socket.next();
    expect(receipt).toBeUndefined();
    socket.receive({ op: "ok", id: publish!.id!, messageId: "m", seq: 7, epoch: 2, duplicate: true });
    await sent;
    expect(receipt).toEqual({ messageId: "m", seq: 7, epoch: 2, duplicate: true });
  });

  it("[PUB10] writes every option into the frame, and none that was not given", async () => {
    const tab = client();
    const socket = await tab.opened();
    const options = { messageId: "m", headers: { a: "b" }, group: "g", priority: 3, delayMs: 5, ttlMs: 9 };
    const more = { replyTo: "queue:answers", correlationId: "c", contentType: "text/plain" };
    void tab.dunlin
      .queue("jobs")
      .send("text", { ...options, ...more })
      .catch(() => {});
    void tab.dunlin
      .queue("jobs")
      .send(undefined, { deliverAt: 8 })
      .catch(() => {});
    expect(await socket.next()).toEqual([
      { op: "publish", id: expect.any(Number), to: "queue:jobs", body: "text", ...options, ...more },
      {
        op: "publish",
        id: expect.any(Number),
        to: "queue:jobs",
        body: null,
        messageId: expect.any(String),
        deliverAt: 8,
      },
    ]);
  });

  it("[PUB6] sends bytes as base64 with their content type", async () => {
    const tab = client();
    const socket = await tab.opened();
    void tab.dunlin
      .queue("jobs")
      .send(new Uint8Array([1, 2, 255]))
      .catch(() => {});
    void tab.dunlin
      .queue("jobs")
      .send(new Uint8Array(0), { contentType: "image/png" })
      .catch(() => {});
    const frames = await socket.next();
    expect(frames.map(({ base64, contentType, body }) => ({ base64, contentType, body }))).toEqual([
      { base64: "AQL/", contentType: "application/octet-stream" },
      { base64: "", contentType: "image/png" },
    ]);
  });

  it("[CLI4] sends of one turn leave in one frame, though microtasks lie between them", async () => {
    const tab = client();
    const socket = await tab.opened();
    const jobs = tab.dunlin.queue("jobs");
    for (let n = 0; n < 3; n++) {
      void jobs.send(n).catch(() => {});
      await Promise.resolve();
    }
    const texts = await socket.nextTexts();
    expect(texts.map((text) => (JSON.parse(text) as { body: number }[]).map(({ body }) => body))).toEqual([
      [0, 1, 2],
    ]);
  });

  it("[CLI4] a batch leaves in one frame, and gives a receipt for each message in its place", async () => {
    const tab = client();
    const socket = await tab.opened();
    const sent = tab.dunlin
      .queue("jobs")
      .sendBatch([{ body: 1 }, { body: 2, messageId: "two", group: "g" }, { body: 3 }]);
    const texts = await socket.nextTexts();
    expect(texts).toHaveLength(1);
    const frames = socket.frames().filter(({ op }) => op === "publish");
    socket.confirm([...frames].reverse());
    expect((await sent).map(({ messageId }) => messageId)).toEqual(frames.map(({ messageId }) => messageId));
    expect(frames[1]).toMatchObject({ messageId: "two", group: "g" });
    expect(await tab.dunlin.queue("jobs").sendBatch([])).toEqual([]);
  });

  it("[CLI13] a batch with a refused message rejects with its refusal, once all are answered", async () => {
    const tab = client();
    const socket = await tab.opened();
    const sent = tab.dunlin.queue("jobs").sendBatch([{ body: 1 }, { body: 2 }]);
    const refused = expect(sent).rejects.toMatchObject({
      code: 303,
      kind: "queue-full",
      retry: "after",
      afterMs: 50,
    });
    const [first, second] = await socket.next();
    socket.receive({
      op: "error",
      id: first!.id!,
      code: 303,
      kind: "queue-full",
      message: "full",
      retry: "after",
      afterMs: 50,
    });
    socket.confirm([second!]);
    await refused;
  });

  it("[CLI3] unconfirmed sends leave again on the next socket, same id and order, before newer ones", async () => {
    const tab = client();
    const first = await tab.opened();
    const jobs = tab.dunlin.queue("jobs");
    const sent = [jobs.send(1), jobs.send(2), jobs.send(3)];
    const before = await first.next();
    first.confirm([before[1]!]);
    first.drop();
    sent.push(jobs.send(4));
    const second = await tab.opened(2);
    const after = await second.next();
    expect(after.slice(0, 2)).toEqual([before[0], before[2]]);
    expect(after.map(({ body }) => body)).toEqual([1, 3, 4]);
    second.confirm(after);
    await Promise.all(sent);
  });

  it("[CLI3] gives every message an id of its own", async () => {
    const tabs = [client(), client({ client: "same" }), client({ client: "same" })];
    const ids = new Set<unknown>();
    for (const tab of tabs) {
      const socket = await tab.opened();
      for (let n = 0; n < 50; n++)
        void tab.dunlin
          .queue(`q${n % 3}`)
          .send(n)
          .catch(() => {});
      for (const { messageId } of await socket.next()) ids.add(messageId);
    }
    expect(ids.size).toBe(150);
  });

  it("[CLI10] [CLI2] beyond its limit the outbox refuses, and takes again after confirms", async () => {
    const tab = client({ maxOutboxMessages: 3 });
    const jobs = tab.dunlin.queue("jobs");
    const sent = [jobs.send(1), jobs.send(2), jobs.send(3)];
    const full = {
      name: "DunlinError",
      code: 0,
      kind: "outbox-full",
      retry: "after",
      afterMs: expect.any(Number),
    };
    await expect(jobs.send(4)).rejects.toMatchObject(full);
    await expect(jobs.sendBatch([{ body: 4 }])).rejects.toMatchObject(full);
    const socket = await tab.opened();
    socket.confirm(await socket.next());
    await Promise.all(sent);
    const again = jobs.send(4);
    socket.confirm(await socket.next());
    await again;
  });

  it("[CLI10] counts the bytes of the outbox too", async () => {
    const tab = client({ maxOutboxBytes: 1_000 });
    const jobs = tab.dunlin.queue("jobs");
    void jobs.send("x".repeat(500)).catch(() => {});
    await expect(jobs.send("x".repeat(500))).rejects.toMatchObject({ kind: "outbox-full" });
  });

  it("[FRM10] refuses by itself what no frame can hold: the broker would close the connection for good", async () => {
    const jobs = client().dunlin.queue("jobs");
    await expect(jobs.send("€".repeat(1_398_101))).rejects.toMatchObject({ kind: "frame-too-large" });
    await expect(jobs.send("x".repeat(4_194_304))).rejects.toMatchObject({ kind: "frame-too-large" });
  });

  it("[PUB5] refuses a body that is not JSON, and takes it as it is at the time of the call", async () => {
    const tab = client();
    const socket = await tab.opened();
    const jobs = tab.dunlin.queue("jobs");
    await expect(jobs.send(1n)).rejects.toBeInstanceOf(DunlinError);
    await expect(jobs.send(1n)).rejects.toMatchObject({ kind: "bad-body" });
    const body = { n: 1 };
    void jobs.send(body).catch(() => {});
    body.n = 2;
    expect((await socket.next())[0]!.body).toEqual({ n: 1 });
  });
});
