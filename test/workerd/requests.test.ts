// Requests whose gateway, queue or topic loses its memory.
import { afterEach, describe, expect, it } from "vitest";
import { call, eventually, type Frame, Wire } from "./support/client.ts";
import { crash, evict, gatewayStub, queueStub, topicObjects, topicStub } from "./support/objects.ts";

let runs = 0;
const open: Wire[] = [];

afterEach(() => {
  for (const wire of open.splice(0)) if (wire.closed === undefined) wire.close();
});

async function connect(hello: Record<string, unknown> = {}): Promise<Wire> {
  const wire = await Wire.connect(hello);
  open.push(wire);
  return wire;
}

/** A request that its only responder has. */
async function asked(to: string): Promise<{ asker: Wire; responder: Wire; request: Frame }> {
  const [asker, responder] = [await connect(), await connect()];
  await responder.ask({ op: "subscribe", sub: 1, to });
  asker.send({ op: "request", id: 77, to, body: "?" });
  const [request] = await responder.take(1);
  return { asker, responder, request: request! };
}

describe("a gateway's memory", () => {
  it("[REQ16] is kept while somebody waits, and let go with the last reply", async () => {
    const { asker, responder, request } = await asked(`topic:asked-${++runs}`);
    const evicted = evict(gatewayStub());
    await responder.ask({ op: "publish", to: request.replyTo, body: "!" });
    expect(await asker.take(1)).toMatchObject([{ op: "reply", id: 77, body: "!" }]);
    await evicted;
    await asker.ask({ op: "publish", to: `queue:asked-${runs}`, body: 1 });
    expect(asker.closed).toBeUndefined();
  });

  it("[REQ16] that is lost in a crash takes the connections with it; a reply finds nobody, and who asks again is answered", async () => {
    const queue = `asked-${++runs}`;
    const hello = { client: queue, session: { expirySeconds: 600 } };
    const [asker, responder] = [await connect(), await connect(hello)];
    await responder.ask({ op: "subscribe", sub: 1, to: `queue:${queue}` });
    asker.send({ op: "request", id: 77, to: `queue:${queue}`, body: 1 });
    const [lost] = await responder.take(1);
    await crash(gatewayStub());
    await eventually("the end of both", () => asker.closed && responder.closed);
    const back = await connect(hello);
    const [again] = await back.take(1);
    expect(again).toMatchObject({ body: 1, redelivered: true, replyTo: lost!.replyTo });
    const [answer] = await back.askAll({ op: "publish", to: lost!.replyTo, body: "!" });
    expect(answer).toMatchObject({ op: "error", kind: "not-found" });
    const other = await connect();
    other.send({ op: "request", id: 78, to: `queue:${queue}`, body: 2 });
    const [request] = await back.take(1);
    await back.ask({ op: "publish", to: request!.replyTo, body: "!" });
    expect(await other.take(1)).toMatchObject([{ op: "reply", id: 78, body: "!" }]);
  });
});

describe("a queue that loses its memory", () => {
  it("[REQ4] knows again who consumes from it", async () => {
    const queue = `asked-${++runs}`;
    const [asker, responder] = [await connect(), await connect()];
    await responder.ask({ op: "subscribe", sub: 1, to: `queue:${queue}` });
    await evict(queueStub(queue));
    asker.send({ op: "request", id: 77, to: `queue:${queue}`, body: "?" });
    const [request] = await responder.take(1);
    await evict(queueStub(queue));
    await responder.ask({ op: "publish", to: request!.replyTo, body: "!" });
    expect(await asker.take(1)).toMatchObject([{ op: "reply", id: 77, body: "!" }]);
  });
});

describe("a topic that loses its memory", () => {
  it("[REQ4] knows again who subscribes to it, by name and by wildcard", async () => {
    const topic = `asked-${++runs}/x`;
    const [asker, responder] = [await connect(), await connect()];
    await asker.askAll({ op: "request", to: `topic:${topic}`, body: "nobody" });
    for (const [sub, filter] of [topic, `asked-${runs}/+`].entries()) {
      await responder.ask({ op: "subscribe", sub, to: `topic:${filter}` });
      await evict(topicStub(topic));
      asker.send({ op: "request", id: 77, to: `topic:${topic}`, body: "?" });
      const [request] = await responder.take(1);
      await responder.ask({ op: "publish", to: request!.replyTo, body: "!" });
      expect(await asker.take(1)).toMatchObject([{ op: "reply", id: 77, body: "!" }]);
      await responder.ask({ op: "unsubscribe", sub });
    }
  });
});

describe("what a request costs", () => {
  it("[REQ18] its reply is no topic's: no object, no name in the books", async () => {
    const { asker, responder, request } = await asked(`topic:asked-${++runs}`);
    const before = (await topicObjects()).length;
    await responder.ask({ op: "publish", to: request.replyTo, body: "!" });
    await asker.take(1);
    expect((await topicObjects()).length).toBe(before);
    expect(await (await call("/v1/topics?limit=1000")).text()).not.toContain("$reply");
  });
});
