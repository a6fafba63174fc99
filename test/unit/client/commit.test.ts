import { afterEach, describe, expect, it } from "vitest";
import type { DunlinError, Message } from "../../../client/index.ts";
import { delivery, type Frame, news, type ScriptedSocket, scripted } from "./scripted-socket.ts";

let open: ReturnType<typeof scripted>[] = [];
const client = (...options: Parameters<typeof scripted>) => {
  const made = scripted(...options);
  open.push(made);
  return made;
};

afterEach(async () => {
  for (const { dunlin } of open) await dunlin.close({ timeoutMs: 0 });
  open = [];
});

async function with3(made: ReturnType<typeof scripted>) {
  const socket = await made.opened();
  const loop = made.dunlin.queue<string>("jobs").consume();
  const first = loop.next();
  const [subscribe] = await socket.next();
  socket.confirm([subscribe!]);
  const sub = subscribe!.sub as number;
  socket.receive([delivery(sub, "a"), delivery(sub, "b"), delivery(sub, "c")]);
  const messages = [(await first).value!, (await loop.next()).value!, (await loop.next()).value!];
  return { socket, sub, messages };
}

const error = (frame: Frame, kind: string): Frame => ({
  op: "error",
  id: frame.id!,
  code: 404,
  kind,
  message: kind,
  retry: "none",
});

async function frameOf(socket: ScriptedSocket, op: string): Promise<Frame> {
  for (;;) {
    const found = (await socket.next()).find((frame) => frame.op === op);
    if (found) return found;
  }
}

describe("commit", () => {
  it("[CLI15] settles and publishes in one frame, and gives the receipts", async () => {
    const made = client();
    const { socket, sub, messages } = await with3(made);
    const [a, b, c] = messages as [Message<string>, Message<string>, Message<string>];
    const done = made.dunlin.commit({
      ack: [a],
      fail: [{ message: b, reason: "no paper", delayMs: 5 }],
      dead: [{ message: c, reason: "never" }],
      publish: [
        { to: "queue:next", body: 1, messageId: "n-1" },
        { to: "topic:news", body: new Uint8Array([1]), retain: true },
      ],
    });
    const frame = await frameOf(socket, "commit");
    expect(frame).toEqual({
      op: "commit",
      id: expect.any(Number),
      settle: [
        {
          sub,
          ack: ["a"],
          fail: [{ delivery: "b", reason: "no paper", delayMs: 5 }],
          dead: [{ delivery: "c", reason: "never" }],
        },
      ],
      publish: [
        { to: "queue:next", body: 1, messageId: "n-1" },
        {
          to: "topic:news",
          base64: "AQ==",
          contentType: "application/octet-stream",
          messageId: expect.any(String),
          retain: true,
        },
      ],
    });
    const published = [
      { messageId: "n-1", seq: 4, epoch: 1, duplicate: false },
      { messageId: "x", pending: true },
    ];
    socket.receive({ op: "ok", id: frame.id!, published });
    expect(await done).toEqual(published);
    expect(await Promise.all(messages.map((message) => message.ack()))).toEqual([true, true, true]);
  });

  it("[CLI15] when it is refused, the messages are as they were and can still be settled", async () => {
    const made = client();
    const { socket, messages } = await with3(made);
    const done = made.dunlin.commit({ ack: [messages[0]!] });
    const commit = await frameOf(socket, "commit");
    socket.receive(error(commit, "lease-lost"));
    await expect(done).rejects.toMatchObject({ kind: "lease-lost" });
    void messages[0]!.release();
    expect(await frameOf(socket, "settle")).toMatchObject({ release: ["a"] });
  });

  it("[CLI15] with a message that is settled, or named twice, sends nothing", async () => {
    const made = client();
    const { socket, messages } = await with3(made);
    const [a, b, c] = messages as [Message<string>, Message<string>, Message<string>];
    void c.ack();
    await frameOf(socket, "settle");
    for (const ack of [
      [a, c],
      [b, b],
    ]) {
      await expect(made.dunlin.commit({ ack })).rejects.toMatchObject({ kind: "lease-lost" });
    }
    void a.ack();
    void b.ack();
    expect(await frameOf(socket, "settle")).toMatchObject({ ack: ["a", "b"] });
    expect(socket.frames().filter(({ op }) => op === "commit")).toEqual([]);
  });

  it("[CLI15] leaves again under the same ids when its answer was lost", async () => {
    const made = client();
    const { socket, messages } = await with3(made);
    const done = made.dunlin.commit({ ack: [messages[0]!], publish: [{ to: "queue:next", body: 1 }] });
    const first = await frameOf(socket, "commit");
    socket.drop();
    const next = await made.opened(2, true);
    const again = await frameOf(next, "commit");
    expect(again).toEqual(first);
    next.receive({ op: "ok", id: again.id!, published: [] });
    expect(await done).toEqual([]);
  });
});

describe("request and reply", () => {
  it("[CLI16] gets the reply as the request's answer", async () => {
    const made = client();
    const socket = await made.opened();
    const asked = made.dunlin.queue("double").request<number>(21, { timeoutMs: 5_000, group: "g" });
    const [frame] = await socket.next();
    expect(frame).toEqual({
      op: "request",
      id: expect.any(Number),
      to: "queue:double",
      body: 21,
      messageId: expect.any(String),
      group: "g",
      timeoutMs: 5_000,
    });
    socket.receive({ op: "reply", id: frame!.id!, body: 42, headers: { a: "b" } });
    expect(await asked).toMatchObject({ body: 42, headers: { a: "b" } });
    const other = made.dunlin.topic("who").request(null);
    const [second] = await socket.next();
    expect(second).toMatchObject({ op: "request", to: "topic:who", timeoutMs: 30_000 });
    socket.receive(error(second!, "no-responders"));
    await expect(other).rejects.toMatchObject({ kind: "no-responders" });
  });

  it("[CLI16] is in time also when the broker cannot say that it is not", async () => {
    const made = client();
    await made.socket();
    const late = made.dunlin.queue("double").request(21, { timeoutMs: -990 });
    await expect(late).rejects.toMatchObject({ kind: "timeout", code: 0 });
  });

  it("[CLI16] message.reply publishes to replyTo with the correlation id, or says that there is none", async () => {
    const made = client();
    const socket = await made.opened();
    const loop = made.dunlin.topic("who").subscribe();
    const next = loop.next();
    const [subscribe] = await socket.next();
    socket.confirm([subscribe!]);
    const fields = { to: "topic:who", replyTo: "topic:$reply/g/t", correlationId: "c" };
    const sub = subscribe!.sub as number;
    socket.receive([news(sub, 1, fields), news(sub, 2, { to: "topic:who" })]);
    const sent = (await next).value!.reply({ ok: true }, { headers: { a: "b" } });
    const [publish] = await socket.next();
    expect(publish).toMatchObject({
      op: "publish",
      to: "topic:$reply/g/t",
      correlationId: "c",
      body: { ok: true },
      headers: { a: "b" },
    });
    socket.confirm([publish!]);
    await sent;
    const refused = (await loop.next()).value!.reply(1);
    await expect(refused).rejects.toMatchObject({ kind: "no-reply-to" } satisfies Partial<DunlinError>);
  });
});

it("[CLI17] filter, receiptTo, expectSeq and producer reach the broker as they are, a filter also over a new socket", async () => {
  const made = client();
  const socket = await made.opened();
  void made.dunlin.queue("jobs").consume({ filter: "colour = 'red'" }).next();
  void made.dunlin
    .topic("news")
    .subscribe({ filter: { colour: "red" } })
    .next();
  const producer = { id: "p", epoch: 1, seq: 1 };
  void made.dunlin.queue("jobs").send(1, { receiptTo: "queue:told", expectSeq: 0, producer });
  const frames = await socket.next();
  expect(frames).toMatchObject([
    { op: "subscribe", to: "queue:jobs", filter: "colour = 'red'" },
    { op: "subscribe", to: "topic:news", filter: { colour: "red" } },
    { op: "publish", receiptTo: "queue:told", expectSeq: 0, producer },
  ]);
  socket.confirm(frames);
  await new Promise((resolve) => setTimeout(resolve, 1));
  socket.drop();
  const next = await made.socket(2);
  next.open();
  const [hello] = await next.next();
  expect(hello).toMatchObject({ resume: [{ to: "topic:news", filter: { colour: "red" } }] });
});
