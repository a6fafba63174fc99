import { afterEach, describe, expect, it } from "vitest";
import type { Message } from "../../../client/index.ts";
import { delivery, type Frame, type Scripted, type ScriptedSocket, scripted } from "./scripted-socket.ts";

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

type Options = Parameters<ReturnType<Scripted["dunlin"]["queue"]>["consume"]>[0];

/** A consumer that waits for its first message, its subscription confirmed. */
async function consuming(options: Options = {}, from: Scripted = client()) {
  const socket = await from.opened();
  const messages = from.dunlin.queue<string>("jobs").consume(options);
  const first = messages.next();
  const frames = await socket.next();
  socket.confirm(frames);
  const sub = frames[0]!.sub as number;
  return { tab: from, socket, messages, first, sub, subscribe: frames[0]! };
}

async function take(messages: AsyncIterator<Message<string>>): Promise<Message<string>> {
  const { value, done } = await messages.next();
  if (done) throw new Error("the consumer has ended");
  return value;
}

const messageOf = async (next: Promise<IteratorResult<Message<string>, undefined>>) => (await next).value!;
const ofOp = (frames: Frame[], op: string) => frames.filter((frame) => frame.op === op);

/** Drops the socket, opens the next one, and tells what left on it. */
async function reconnect(tab: Scripted, socket: ScriptedSocket, number: number, resumed: boolean) {
  socket.drop();
  const next = await tab.opened(number, resumed);
  return next;
}

describe("consuming", () => {
  it("[CLI6] subscribes at the first next() with the credit and lease asked for", async () => {
    const { subscribe } = await consuming({ credit: 5, leaseMs: 9_000 });
    expect(subscribe).toMatchObject({ op: "subscribe", to: "queue:jobs", credit: 5, leaseMs: 9_000 });
  });

  it("[SUB10] shows the message with all its fields", async () => {
    const { socket, first, sub } = await consuming();
    const fields = {
      headers: { a: "b" },
      group: "g",
      replyTo: "queue:r",
      correlationId: "c",
      attempt: 2,
      redelivered: true,
    };
    socket.receive(delivery(sub, "h", { seq: 3, epoch: 4, time: 5, ...fields }));
    const message = await messageOf(first);
    expect({ ...message }).toEqual({
      body: "h",
      to: "queue:jobs",
      seq: 3,
      epoch: 4,
      messageId: "m-h",
      time: 5,
      ...fields,
    });
  });

  it("[PUB6] bytes come as bytes", async () => {
    const { socket, first, sub } = await consuming();
    socket.receive(delivery(sub, "h", { body: undefined, base64: "AQL/", contentType: "image/png" }));
    const message = await messageOf(first);
    expect(message.body).toEqual(new Uint8Array([1, 2, 255]));
    expect(message.contentType).toBe("image/png");
    expect(message.headers).toEqual({});
  });

  it("[CLI4] acks of one turn leave in one settle, also from a loop that awaits each message", async () => {
    const { socket, messages, first, sub } = await consuming();
    socket.receive(["a", "b", "c"].map((handle) => delivery(sub, handle)));
    const acks = [(await messageOf(first)).ack()];
    acks.push((await take(messages)).ack(), (await take(messages)).ack());
    const frames = await socket.next();
    expect(frames).toEqual([{ op: "settle", id: expect.any(Number), sub, ack: ["a", "b", "c"] }]);
    socket.confirm(frames);
    expect(await Promise.all(acks)).toEqual([true, true, true]);
  });

  it("[SET6] the first settlement of a message counts, and a further one gets its answer", async () => {
    const { socket, first, sub } = await consuming();
    socket.receive(delivery(sub, "a"));
    const message = await messageOf(first);
    const ack = message.ack();
    const fail = message.fail();
    const frames = await socket.next();
    expect(frames).toEqual([{ op: "settle", id: expect.any(Number), sub, ack: ["a"] }]);
    socket.receive({ op: "ok", id: frames[0]!.id!, lost: ["a"] });
    expect(await Promise.all([ack, fail, message.release()])).toEqual([false, false, false]);
  });

  it("[CLI4] a settle holds at most 1,000 handles", async () => {
    const { socket, messages, first, sub } = await consuming({ credit: 2_500 });
    socket.receive(Array.from({ length: 2_500 }, (_, n) => delivery(sub, `h${n}`)));
    void (await messageOf(first)).ack();
    for (let n = 1; n < 2_500; n++) void (await take(messages)).ack();
    const frames = await socket.next();
    expect(ofOp(frames, "settle").map(({ ack }) => (ack as string[]).length)).toEqual([1_000, 1_000, 500]);
  });

  it("[CLI13] a refused subscription is thrown out of the loop, once", async () => {
    const tab = client();
    const socket = await tab.opened();
    const messages = tab.dunlin.queue("jobs").consume();
    const refused = expect(messages.next()).rejects.toMatchObject({ code: 202, kind: "forbidden" });
    const [subscribe] = await socket.next();
    socket.receive({
      op: "error",
      id: subscribe!.id!,
      code: 202,
      kind: "forbidden",
      message: "no",
      retry: "none",
    });
    await refused;
    expect(await messages.next()).toEqual({ done: true, value: undefined });
  });

  it("[QUE7] a deleted queue is thrown out of the loop", async () => {
    const { socket, first, sub } = await consuming();
    socket.receive({ op: "event", kind: "gone", sub, reason: "deleted" });
    await expect(first).rejects.toMatchObject({ kind: "gone", message: "deleted" });
  });
});

describe("after a lost socket", () => {
  it("[SES9] [CLI5] a resumed session gives no message a second time, be it buffered or in a handler", async () => {
    const { tab, socket, messages, first, sub } = await consuming();
    socket.receive(["a", "b", "c"].map((handle) => delivery(sub, handle)));
    const held = await messageOf(first);
    const next = await reconnect(tab, socket, 2, true);
    next.receive(["a", "b", "c", "d"].map((handle) => delivery(sub, handle, { redelivered: true })));
    const bodies = [held.body];
    for (let n = 0; n < 3; n++) bodies.push((await take(messages)).body);
    expect(bodies).toEqual(["a", "b", "c", "d"]);
    expect(ofOp(next.frames(), "subscribe")).toEqual([]);
  });

  it("[SES10] [CLI5] a settlement without answer leaves again, and one made meanwhile as well", async () => {
    const { tab, socket, messages, first, sub } = await consuming();
    socket.receive(["a", "b"].map((handle) => delivery(sub, handle)));
    const acks = [(await messageOf(first)).ack()];
    const [settle] = await socket.next();
    socket.drop();
    acks.push((await take(messages)).ack());
    const next = await tab.opened(2, true);
    next.receive([delivery(sub, "a"), delivery(sub, "b")]);
    const frames = await next.next();
    expect(frames).toEqual([settle, { op: "settle", id: expect.any(Number), sub, ack: ["b"] }]);
    next.confirm(frames);
    expect(await Promise.all(acks)).toEqual([true, true]);
    // Answered: from here on the same handle would be another delivery.
    const following = messages.next();
    next.receive(delivery(sub, "c"));
    expect((await messageOf(following)).body).toBe("c");
  });

  it("[CLI5] without resume it subscribes anew before all else, and gives back what it had not begun", async () => {
    const { tab, socket, messages, first, sub, subscribe } = await consuming();
    socket.receive(["a", "b", "c"].map((handle) => delivery(sub, handle)));
    const begun = await messageOf(first);
    const sent = tab.dunlin.queue("jobs").send("later");
    const [publish] = await socket.next();
    const next = await reconnect(tab, socket, 2, false);
    const frames = await next.next();
    expect(frames.slice(0, 2)).toEqual([{ ...subscribe, id: expect.any(Number) }, publish]);
    expect(ofOp(frames, "settle")).toMatchObject([{ sub, release: ["b", "c"] }]);
    next.confirm(frames);
    await sent;
    const ack = begun.ack();
    const [settle] = await next.next();
    expect(settle).toMatchObject({ op: "settle", sub, ack: ["a"] });
    next.receive({ op: "ok", id: settle!.id!, lost: ["a"] });
    expect(await ack).toBe(false);
    next.receive(delivery(sub, "b2", { body: "b again" }));
    expect((await take(messages)).body).toBe("b again");
  });

  it("[CLI5] repeats a subscription that was not confirmed, resumed or not", async () => {
    const tab = client();
    const socket = await tab.opened();
    void tab.dunlin.queue("jobs").consume().next();
    const [subscribe] = await socket.next();
    const next = await reconnect(tab, socket, 2, true);
    expect(await next.next()).toEqual([{ ...subscribe, id: expect.any(Number) }]);
  });

  it("[CLI11] a session of an earlier life of the client id gets its unknown subscriptions ended, once each", async () => {
    const tab = client({ client: "same" });
    const socket = await tab.opened(1, true);
    socket.receive([delivery(77, "a"), delivery(77, "b")]);
    expect(await socket.next()).toEqual([{ op: "unsubscribe", id: expect.any(Number), sub: 77 }]);
    void tab.dunlin.queue("jobs").consume().next();
    const [subscribe] = await socket.next();
    expect(subscribe!.sub).toBeGreaterThan(1_000);
  });
});

describe("leases", () => {
  it("[CLI7] are extended at half their time while messages are buffered or in a handler, together", async () => {
    const { socket, first, sub } = await consuming({ leaseMs: 200 });
    const receivedAtMs = performance.now();
    socket.receive([delivery(sub, "a"), delivery(sub, "b")]);
    const message = await messageOf(first);
    const [extend] = await socket.next();
    const afterMs = performance.now() - receivedAtMs;
    expect(extend).toEqual({
      op: "extend",
      id: expect.any(Number),
      sub,
      deliveries: ["a", "b"],
      leaseMs: 200,
    });
    expect(afterMs).toBeGreaterThan(90);
    const ack = message.ack();
    const [settle] = await socket.next();
    socket.confirm([extend!, settle!]);
    await ack;
    expect(await socket.next()).toMatchObject([{ op: "extend", deliveries: ["b"] }]);
  });

  it("[CLI7] [LEA5] a buffered message whose lease was lost is not handed out", async () => {
    const { socket, messages, first, sub } = await consuming({ leaseMs: 200 });
    socket.receive([delivery(sub, "a"), delivery(sub, "b"), delivery(sub, "c")]);
    const begun = await messageOf(first);
    const [extend] = await socket.next();
    socket.receive({ op: "ok", id: extend!.id!, lost: ["a", "b"] });
    expect((await take(messages)).body).toBe("c");
    expect(await begun.ack()).toBe(false);
  });

  it("[CLI7] are extended at once when a new socket is ready, however fresh", async () => {
    const { tab, socket, messages, first, sub } = await consuming();
    socket.receive(["a", "b", "c"].map((handle) => delivery(sub, handle)));
    await first;
    void (await take(messages)).ack();
    const next = await reconnect(tab, socket, 2, true);
    expect(ofOp(await next.next(), "extend")).toMatchObject([{ deliveries: ["a", "c"], leaseMs: 30_000 }]);
  });

  it("[CLI7] are not extended beyond maxHoldMs", async () => {
    const { socket, first, sub } = await consuming({ leaseMs: 100, maxHoldMs: 250 });
    socket.receive(delivery(sub, "a"));
    await first;
    const seen: number[] = [];
    const startedAtMs = performance.now();
    while (performance.now() - startedAtMs < 600) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      const extensions = ofOp(socket.frames(), "extend");
      socket.confirm(extensions);
      seen.push(extensions.length);
    }
    const count = seen.at(-1)!;
    expect(count).toBeGreaterThanOrEqual(1);
    expect(count).toBeLessThanOrEqual(5);
  });

  it("[CLI8] extend() tells whether the lease was held, and the automatic one does not shorten it", async () => {
    const { socket, first, sub } = await consuming({ leaseMs: 200 });
    socket.receive(delivery(sub, "a"));
    const message = await messageOf(first);
    const extended = message.extend(60_000);
    const [extend] = await socket.next();
    expect(extend).toMatchObject({ op: "extend", deliveries: ["a"], leaseMs: 60_000 });
    socket.confirm([extend!]);
    expect(await extended).toBe(true);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(ofOp(socket.frames(), "extend")).toHaveLength(1);
    const again = message.extend(60_000);
    const [second] = await socket.next();
    socket.receive({ op: "ok", id: second!.id!, lost: ["a"] });
    expect(await again).toBe(false);
    expect(await message.extend(60_000)).toBe(false);
  });
});

describe("leaving", () => {
  it("[CLI11] the end of the loop ends the subscription, after what it settled", async () => {
    const { socket, messages, first, sub } = await consuming();
    socket.receive(["a", "b", "c"].map((handle) => delivery(sub, handle)));
    const message = await messageOf(first);
    void message.ack();
    await messages.return!();
    const frames = await socket.next();
    expect(frames).toMatchObject([
      { op: "settle", ack: ["a"] },
      { op: "unsubscribe", sub },
    ]);
    expect(await messages.next()).toEqual({ done: true, value: undefined });
    socket.receive(delivery(sub, "late"));
    socket.confirm(frames);
  });

  it("[CLI11] what is settled only after the loop has given it back is not settled", async () => {
    const { socket, messages, first, sub } = await consuming();
    socket.receive(delivery(sub, "a"));
    const message = await messageOf(first);
    await messages.return!();
    expect(await message.ack()).toBe(false);
    expect(await message.extend(1_000)).toBe(false);
    expect(ofOp(await socket.next(), "settle")).toEqual([]);
  });

  it("[CLI11] an abort gives back what was not begun, lets the begun be settled, and then unsubscribes", async () => {
    const stop = new AbortController();
    const { socket, messages, first, sub } = await consuming({ signal: stop.signal });
    socket.receive(["a", "b", "c"].map((handle) => delivery(sub, handle)));
    const begun = await messageOf(first);
    stop.abort();
    expect(await messages.next()).toEqual({ done: true, value: undefined });
    const frames = await socket.next();
    expect(frames).toMatchObject([
      { op: "subscribe", sub, to: "queue:jobs", credit: 0 },
      { op: "settle", release: ["b", "c"] },
    ]);
    socket.confirm(frames);
    socket.receive(delivery(sub, "d"));
    expect(await socket.next()).toMatchObject([{ op: "settle", release: ["d"] }]);
    const ack = begun.ack();
    const last = await socket.next();
    expect(last).toMatchObject([
      { op: "settle", ack: ["a"] },
      { op: "unsubscribe", sub },
    ]);
    socket.confirm(last);
    expect(await ack).toBe(true);
  });

  it("[CLI11] an abort with nothing begun unsubscribes at once, and one before the start subscribes never", async () => {
    const stop = new AbortController();
    const { tab, socket, first, sub } = await consuming({ signal: stop.signal });
    stop.abort();
    expect(await first).toEqual({ done: true, value: undefined });
    expect(await socket.next()).toMatchObject([{ op: "unsubscribe", sub }]);
    const never = tab.dunlin.queue("jobs").consume({ signal: stop.signal });
    expect(await never.next()).toEqual({ done: true, value: undefined });
    expect(ofOp(socket.frames(), "subscribe")).toHaveLength(1);
  });

  it("[CLI11] closing the client ends its loops", async () => {
    const { tab, socket, first, sub } = await consuming();
    const closed = tab.dunlin.close();
    expect(await first).toEqual({ done: true, value: undefined });
    const frames = await socket.next();
    expect(frames).toMatchObject([{ op: "unsubscribe", sub }]);
    socket.confirm(frames);
    await closed;
  });
});

describe("what the broker tells of others", () => {
  it("[CLI18] a message that another device has settled is gone, handed out or not, and its signal aborts", async () => {
    const { socket, messages, first, sub } = await consuming();
    for (const handle of ["a", "b", "c"]) socket.receive(delivery(sub, handle));
    const message = await messageOf(first);
    const { signal } = message;
    expect(signal.aborted).toBe(false);
    socket.receive({ op: "event", kind: "settled", sub, deliveries: ["a", "b"] });
    const next = await take(messages);
    expect(signal.aborted).toBe(true);
    expect(next.signal.aborted).toBe(false);
    expect(await message.ack()).toBe(false);
  });

  it("[CLI19] the active consumer is told that it is, and that it no longer is", async () => {
    const told: boolean[] = [];
    const { socket, messages, sub, first } = await consuming({ onActive: (isActive) => told.push(isActive) });
    socket.receive({ op: "event", kind: "active", sub, active: true });
    socket.receive({ op: "event", kind: "active", sub, active: false });
    socket.receive(delivery(sub, "a"));
    await first;
    expect(told).toEqual([true, false]);
    await messages.return!();
  });
});
