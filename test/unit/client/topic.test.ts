import { afterEach, describe, expect, it } from "vitest";
import type { DunlinError, Gap, SubscribeOptions, TopicMessage } from "../../../client/index.ts";
import { type Frame, news, type Scripted, type ScriptedSocket, scripted, until } from "./scripted-socket.ts";

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

type Messages = AsyncIterableIterator<TopicMessage, undefined>;

/** A subscription that waits for its first message, confirmed by the broker with `answer` over the usual one. */
async function subscribed(filter = "news", options: SubscribeOptions = {}, answer: object = {}) {
  const tab = client();
  const socket = await tab.opened();
  const gaps: Gap[] = [];
  const messages = tab.dunlin.topic(filter).subscribe({ onGap: (gap) => gaps.push(gap), ...options });
  const first = messages.next();
  const [subscribe] = await socket.next();
  const sub = subscribe!.sub as number;
  socket.receive({ op: "ok", id: subscribe!.id!, sub, epoch: 1, seq: 0, recovered: true, ...answer });
  return { tab, socket, messages, first, sub, subscribe: subscribe!, gaps };
}

/** Drops the socket and opens the next one; tells its hello and what left with its welcome. */
async function reconnect(tab: Scripted, socket: ScriptedSocket, number = 2, resumed = false) {
  socket.drop();
  const next = await tab.opened(number, resumed);
  const [hello, ...frames] = next.frames();
  return { next, hello: hello!, frames };
}

/** The seqs of the next messages. */
async function seqs(messages: Messages, count: number, first?: Promise<IteratorResult<TopicMessage>>) {
  const seen: number[] = [];
  while (seen.length < count) {
    const { value } = await (seen.length === 0 && first ? first : messages.next());
    seen.push((value as TopicMessage).seq);
  }
  return seen;
}

/** Everything that was received before has been dealt with, and told. */
const settled = () => new Promise((resolve) => setTimeout(resolve));

describe("publishing", () => {
  it("[TCL1] resolves with the broker's receipt, not before, and travels with the turn's other sends", async () => {
    const tab = client();
    const socket = await tab.opened();
    let receipt: unknown;
    const sent = tab.dunlin
      .topic("news")
      .publish({ n: 1 })
      .then((result) => {
        receipt = result;
      });
    void tab.dunlin
      .queue("jobs")
      .send(2)
      .catch(() => {});
    const texts = await socket.nextTexts();
    expect(texts).toHaveLength(1);
    const [publish, send] = JSON.parse(texts[0]!) as Frame[];
    expect([publish!.to, send!.to]).toEqual(["topic:news", "queue:jobs"]);
    expect(receipt).toBeUndefined();
    socket.receive({ op: "ok", id: publish!.id!, messageId: "m", seq: 7, epoch: 2, duplicate: false });
    await sent;
    expect(receipt).toEqual({ messageId: "m", seq: 7, epoch: 2, duplicate: false });
  });

  it("[TCL1] goes again over the next socket under its message id", async () => {
    const tab = client();
    const socket = await tab.opened();
    const sent = tab.dunlin.topic("news").publish("hello");
    const [publish] = await socket.next();
    const { next, frames } = await reconnect(tab, socket);
    expect(frames).toEqual([publish]);
    next.confirm(frames);
    expect((await sent).messageId).toBe(publish!.messageId);
  });

  it("[TCL2] writes retain and the options of a send into the frame, also of a batch", async () => {
    const tab = client();
    const socket = await tab.opened();
    const news = tab.dunlin.topic("news");
    void news.publish("a", { retain: true, headers: { h: "1" }, ttlMs: 9, messageId: "m" }).catch(() => {});
    void news.publishBatch([{ body: 1, retain: true }, { body: 2 }]).catch(() => {});
    const frames = await socket.next();
    const common = { op: "publish", id: expect.any(Number), to: "topic:news" };
    expect(frames).toEqual([
      { ...common, body: "a", retain: true, headers: { h: "1" }, ttlMs: 9, messageId: "m" },
      { ...common, body: 1, retain: true, messageId: expect.any(String) },
      { ...common, body: 2, messageId: expect.any(String) },
    ]);
  });
});

describe("subscribing", () => {
  it("[TCL3] asks at the first next(), with from and credit as given", async () => {
    const { subscribe } = await subscribed("news/#", { from: { last: 3 }, credit: 5 });
    expect(subscribe).toMatchObject({ op: "subscribe", to: "topic:news/#", from: { last: 3 }, credit: 5 });
    const { subscribe: plain } = await subscribed();
    expect(plain).toEqual({
      op: "subscribe",
      id: expect.any(Number),
      sub: expect.any(Number),
      to: "topic:news",
      credit: 10_000,
    });
  });

  it("[TCL3] shows a message with all its fields", async () => {
    const { socket, first, sub } = await subscribed("news/#");
    const fields = { headers: { a: "b" }, replyTo: "queue:r", correlationId: "c", contentType: "text/plain" };
    socket.receive(news(sub, 3, { to: "topic:news/a:b", epoch: 4, time: 5, ...fields, retained: true }));
    expect({ ...(await first).value }).toEqual({
      body: "news 3",
      to: "topic:news/a:b",
      topic: "news/a:b",
      seq: 3,
      epoch: 4,
      messageId: "m-3",
      time: 5,
      retained: true,
      ...fields,
    });
  });

  it("[TCL3] bytes come as bytes, and what is not retained says so", async () => {
    const { socket, first, sub } = await subscribed();
    socket.receive(news(sub, 1, { body: undefined, base64: "AQL/" }));
    expect((await first).value).toMatchObject({
      body: new Uint8Array([1, 2, 255]),
      retained: false,
      headers: {},
    });
  });

  it("[TCL4] what is not after the last message of its topic and epoch is dropped", async () => {
    const { socket, messages, first, sub } = await subscribed("news/#");
    const to = "topic:news/b";
    socket.receive([news(sub, 4), news(sub, 4), news(sub, 3), news(sub, 1, { to }), news(sub, 5)]);
    socket.receive([
      news(sub, 1, { epoch: 2 }),
      news(sub, 1, { epoch: 2 }),
      news(sub, 1, { to }),
      news(sub, 2, { to }),
    ]);
    expect(await seqs(messages, 5, first)).toEqual([4, 1, 5, 1, 2]);
  });

  it("[TCL10] leaving the loop, the signal and closing end it at the broker", async () => {
    const stop = new AbortController();
    const left = await subscribed();
    const signalled = await subscribed("news", { signal: stop.signal });
    const closed = await subscribed();
    left.socket.receive(news(left.sub, 1));
    await left.first;
    await left.messages.return!();
    expect(await left.messages.next()).toEqual({ done: true, value: undefined });
    stop.abort();
    void closed.tab.dunlin.close();
    expect([await signalled.first, await closed.first]).toEqual([
      { done: true, value: undefined },
      { done: true, value: undefined },
    ]);
    for (const { socket, sub } of [left, signalled, closed]) {
      expect(await socket.next()).toEqual([{ op: "unsubscribe", id: expect.any(Number), sub }]);
    }
    const never = left.tab.dunlin.topic("news").subscribe({ signal: stop.signal });
    expect(await never.next()).toEqual({ done: true, value: undefined });
  });

  it("[TCL11] a refused subscription is thrown out of the loop, once", async () => {
    const tab = client();
    const socket = await tab.opened();
    const messages = tab.dunlin.topic("news").subscribe();
    const refused = expect(messages.next()).rejects.toMatchObject({ code: 202, kind: "forbidden" });
    const [subscribe] = await socket.next();
    const error = { code: 202, kind: "forbidden", message: "no", retry: "none" };
    socket.receive({ op: "error", id: subscribe!.id!, ...error });
    await refused;
    expect(await messages.next()).toEqual({ done: true, value: undefined });
  });

  it("[TCL11] what had arrived is handed out before the error that ended it", async () => {
    const { socket, messages, first, sub } = await subscribed();
    socket.receive([news(sub, 1), news(sub, 2), { op: "event", kind: "gone", sub, reason: "deleted" }]);
    expect(await seqs(messages, 2, first)).toEqual([1, 2]);
    await expect(messages.next()).rejects.toMatchObject({ kind: "gone", message: "deleted" });
    expect(await messages.next()).toEqual({ done: true, value: undefined });
  });
});

describe("a lost socket", () => {
  it("[TCL5] hello says where a topic's subscription goes on, and with how much credit", async () => {
    const { tab, socket, messages, first, sub } = await subscribed("news", { from: "first", credit: 10 });
    socket.receive([news(sub, 1), news(sub, 2, { epoch: 3 })]);
    await first;
    socket.drop();
    const next = await tab.opened(2);
    // One message waits in the buffer.
    expect(next.frames()[0]!.resume).toEqual([{ sub, to: "topic:news", epoch: 3, seq: 2, credit: 9 }]);
    next.receive([{ op: "event", kind: "resumed", sub, epoch: 3, seq: 3, recovered: true }]);
    next.receive(news(sub, 3, { epoch: 3 }));
    expect(await seqs(messages, 2)).toEqual([2, 3]);
    expect(next.frames().map(({ op }) => op)).toEqual(["hello"]);
  });

  it("[TCL5] the first hello has no resume, nor has one without topics", async () => {
    const tab = client();
    const socket = await tab.opened();
    void tab.dunlin
      .queue("jobs")
      .consume()
      .next()
      .catch(() => {});
    socket.confirm(await socket.next());
    const { hello } = await reconnect(tab, socket);
    expect(socket.frames()[0]).not.toHaveProperty("resume");
    expect(hello).not.toHaveProperty("resume");
  });

  it("[TCL5] the messages of before and after come in order, and once", async () => {
    const { tab, socket, messages, first, sub, gaps } = await subscribed();
    socket.receive([news(sub, 1), news(sub, 2)]);
    const { next } = await reconnect(tab, socket);
    next.receive([{ op: "event", kind: "resumed", sub, epoch: 1, seq: 4, recovered: true }, news(sub, 2)]);
    next.receive([news(sub, 3), news(sub, 4)]);
    next.receive(news(sub, 5));
    expect(await seqs(messages, 5, first)).toEqual([1, 2, 3, 4, 5]);
    expect(gaps).toEqual([]);
  });

  it("[TCL6] one from new that got nothing yet goes on where it began", async () => {
    const { tab, socket, sub } = await subscribed("news", {}, { epoch: 8, seq: 5 });
    const { hello, frames } = await reconnect(tab, socket);
    expect(hello.resume).toMatchObject([{ sub, to: "topic:news", epoch: 8, seq: 5 }]);
    expect(frames).toEqual([]);
  });

  it("[TCL6] one that got but the retained message goes on where it began", async () => {
    const { tab, socket, first, sub } = await subscribed("news", {}, { epoch: 8, seq: 5 });
    socket.receive(news(sub, 3, { epoch: 8, retained: true }));
    await first;
    const { hello } = await reconnect(tab, socket);
    expect(hello.resume).toMatchObject([{ sub, to: "topic:news", epoch: 8, seq: 5 }]);
  });

  it("[TCL6] one with another from that got nothing yet begins again", async () => {
    const { tab, socket, sub, messages, first, gaps } = await subscribed("news", { from: { time: 7 } });
    const second = await reconnect(tab, socket);
    expect(second.hello).not.toHaveProperty("resume");
    expect(second.frames).toMatchObject([{ op: "subscribe", from: { time: 7 } }]);
    // In a resumed session the old one may have sent what the socket lost: it ends, and what still comes of it does not count.
    const { next, hello, frames } = await reconnect(tab, second.next, 3, true);
    expect(hello).not.toHaveProperty("resume");
    expect(frames).toMatchObject([
      { op: "unsubscribe", sub },
      { op: "subscribe", sub, from: { time: 7 } },
    ]);
    next.receive([{ op: "event", kind: "lag", sub, skipped: 2 }, news(sub, 3)]);
    next.confirm(frames);
    next.receive([1, 2, 3].map((seq) => news(sub, seq)));
    expect(await seqs(messages, 3, first)).toEqual([1, 2, 3]);
    expect(gaps).toEqual([]);
  });

  it("[TCL7] a filter's goes on in a resumed session, without a gap", async () => {
    const { tab, socket, messages, first, sub, gaps } = await subscribed("news/#", { from: "first" });
    socket.receive([news(sub, 1), news(sub, 2)]);
    const { next, hello, frames } = await reconnect(tab, socket, 2, true);
    expect(hello).not.toHaveProperty("resume");
    expect(frames).toMatchObject([{ op: "subscribe", sub }]);
    expect(frames[0]).not.toHaveProperty("from");
    next.receive([news(sub, 2, { retained: true }), news(sub, 3), news(sub, 9, { to: "topic:news/b" })]);
    expect(await seqs(messages, 4, first)).toEqual([1, 2, 3, 9]);
    expect(gaps).toEqual([]);
  });

  it("[TCL7] a filter's begins anew in a new session, and says that messages may be missing", async () => {
    const { tab, socket, messages, first, sub, gaps } = await subscribed("news/#", { from: "first" });
    socket.receive(news(sub, 1));
    const { next, frames } = await reconnect(tab, socket);
    expect(frames[0]).not.toHaveProperty("from");
    next.receive([news(sub, 1, { retained: true }), news(sub, 5)]);
    expect(await seqs(messages, 2, first)).toEqual([1, 5]);
    expect(gaps).toEqual([{ reason: "lost", skipped: undefined }]);
  });

  it("[TCL8] a filter's hole that the socket took with it shows at the topic's next message", async () => {
    const { tab, socket, messages, first, sub, gaps } = await subscribed("news/#");
    const to = "topic:news/lamp";
    socket.receive([news(sub, 1), news(sub, 4, { to, retained: true })]);
    const { next } = await reconnect(tab, socket, 2, true);
    next.receive([news(sub, 4), news(sub, 9, { to }), news(sub, 8)]);
    expect(await seqs(messages, 5, first)).toEqual([1, 4, 4, 9, 8]);
    // What came between a retained message and the subscription never was to come, and later jumps are the broker's to tell.
    expect(gaps).toEqual([{ reason: "lost", skipped: 2 }]);
  });
});

describe("gaps", () => {
  it("[TCL8] lag tells how many messages were skipped", async () => {
    const { socket, messages, first, sub, gaps } = await subscribed();
    socket.receive([news(sub, 1), { op: "event", kind: "lag", sub, skipped: 6 }, news(sub, 8)]);
    expect(await seqs(messages, 2, first)).toEqual([1, 8]);
    expect(gaps).toEqual([{ reason: "lag", skipped: 6 }]);
  });

  it("[TCL8] what a lag event told of is not told again by the jump it explains", async () => {
    const { tab, socket, messages, first, sub, gaps } = await subscribed("news/#");
    socket.receive(news(sub, 1));
    const { next } = await reconnect(tab, socket, 2, true);
    next.receive([{ op: "event", kind: "lag", sub, skipped: 3 }, news(sub, 5)]);
    expect(await seqs(messages, 2, first)).toEqual([1, 5]);
    expect(gaps).toEqual([{ reason: "lag", skipped: 3 }]);
  });

  it("[TCL8] a resume that did not recover everything tells", async () => {
    const { tab, socket, messages, first, sub, gaps } = await subscribed();
    socket.receive(news(sub, 1));
    const { next } = await reconnect(tab, socket);
    next.receive([{ op: "event", kind: "resumed", sub, epoch: 1, seq: 7, recovered: false }, news(sub, 7)]);
    expect(await seqs(messages, 2, first)).toEqual([1, 7]);
    expect(gaps).toEqual([{ reason: "lost", skipped: undefined }]);
  });

  it("[TCL8] a beginning that is not kept any more tells, and a first subscription from new never does", async () => {
    const from = { epoch: 1, seq: 3 };
    const { gaps } = await subscribed("news", { from }, { recovered: false });
    const fresh = await subscribed("news", {}, { recovered: false });
    await settled();
    expect(gaps).toEqual([{ reason: "lost", skipped: undefined }]);
    expect(fresh.gaps).toEqual([]);
  });

  it("[TCL8] without onGap an error event tells", async () => {
    const { tab, socket, sub } = await subscribed("news", { onGap: undefined as never });
    const errors: DunlinError[] = [];
    tab.dunlin.on("error", (error) => errors.push(error));
    socket.receive({ op: "event", kind: "lag", sub, skipped: 6 });
    expect(errors).toMatchObject([{ kind: "gap", message: "Messages of topic:news may be missing: lag" }]);
  });
});

describe("credit", () => {
  it("[TCL9] is granted as the loop takes, half of it at a time", async () => {
    const { socket, messages, first, sub } = await subscribed("news", { credit: 4 });
    socket.receive([1, 2, 3, 4].map((seq) => news(sub, seq)));
    expect(await seqs(messages, 1, first)).toEqual([1]);
    await settled();
    expect(socket.frames().filter(({ op }) => op === "credit")).toEqual([]);
    expect(await seqs(messages, 1)).toEqual([2]);
    expect(await socket.next()).toEqual([{ op: "credit", id: expect.any(Number), sub, add: 2 }]);
    expect(await seqs(messages, 2)).toEqual([3, 4]);
    expect(await socket.next()).toEqual([{ op: "credit", id: expect.any(Number), sub, add: 2 }]);
  });

  it("[TCL9] a dropped repetition is granted again too", async () => {
    const { socket, first, sub } = await subscribed("news", { credit: 4 });
    socket.receive([news(sub, 1), news(sub, 1)]);
    await first;
    expect(await socket.next()).toMatchObject([{ op: "credit", add: 2 }]);
  });

  it("[TCL9] a new socket grants what the buffer has room for, and owes nothing of the old one", async () => {
    const { tab, socket, messages, first, sub } = await subscribed("news", { credit: 8 });
    socket.receive([1, 2, 3, 4].map((seq) => news(sub, seq)));
    await first;
    const { next, hello } = await reconnect(tab, socket);
    expect(hello.resume).toMatchObject([{ credit: 5 }]);
    expect(await seqs(messages, 3)).toEqual([2, 3, 4]);
    await settled();
    next.receive(news(sub, 5));
    expect(await seqs(messages, 1)).toEqual([5]);
    await until(
      () => next.frames().some(({ op }) => op === "credit"),
      () => next.sent.join(" "),
    );
    expect(next.frames().filter(({ op }) => op === "credit")).toMatchObject([{ add: 4 }]);
  });
});
