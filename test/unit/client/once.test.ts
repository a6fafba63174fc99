import { afterEach, describe, expect, it } from "vitest";
import type { ConsumeOptions, DunlinError, Message } from "../../../client/index.ts";
import { type OnceStore, onceKey } from "../../../client/once/once.ts";
import { delivery, type ScriptedSocket, scripted, until } from "./scripted-socket.ts";

let open: ReturnType<typeof scripted>[] = [];

afterEach(async () => {
  for (const { dunlin } of open) await dunlin.close({ timeoutMs: 0 });
  open = [];
});

/** A store whose answers wait for the test. */
class ManualStore implements OnceStore {
  readonly kept = new Set<string>();
  readonly steps: string[] = [];
  waiting: { what: string; go: (error?: Error) => void }[] = [];
  isAuto = true;

  async has(key: string): Promise<boolean> {
    await this.#step(`has ${id(key)}`);
    return this.kept.has(key);
  }

  async add(key: string): Promise<void> {
    await this.#step(`add ${id(key)}`);
    this.kept.add(key);
  }

  #step(what: string): Promise<void> {
    this.steps.push(what);
    if (this.isAuto) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.waiting.push({ what, go: (error) => (error ? reject(error) : resolve()) });
    });
  }

  async let(what: string, error?: Error): Promise<void> {
    const found = () => this.waiting.findIndex((step) => step.what === what);
    await until(
      () => found() >= 0,
      () => `no ${what} among ${this.steps.join(", ")}`,
    );
    this.waiting.splice(found(), 1)[0]!.go(error);
  }
}

const id = (key: string) => (JSON.parse(key) as [string, string])[1];

async function consuming(once: OnceStore, options: ConsumeOptions = {}) {
  const made = scripted();
  open.push(made);
  const errors: DunlinError[] = [];
  made.dunlin.on("error", (error) => errors.push(error));
  const socket = await made.opened();
  const handed: Message<string>[] = [];
  const run = { error: undefined as DunlinError | undefined };
  const loop = (async () => {
    for await (const message of made.dunlin.queue<string>("jobs").consume({ ...options, once }))
      handed.push(message);
  })().catch((error: DunlinError) => {
    run.error = error;
  });
  const [subscribe] = await socket.next();
  socket.confirm([subscribe!]);
  const sub = subscribe!.sub as number;
  return { ...made, socket, sub, handed, errors, loop, run };
}

const handles = (messages: Message<string>[]) => messages.map(({ body }) => body);
const settled = async (socket: ScriptedSocket) => (await socket.next()).filter(({ op }) => op === "settle");

describe("consume({ once })", () => {
  it("[ONC1] keeps the id of a finished message before its ack leaves", async () => {
    const store = new ManualStore();
    const { socket, sub, handed } = await consuming(store);
    socket.receive(delivery(sub, "a"));
    await until(
      () => handed.length === 1,
      () => "nothing was handed out",
    );
    store.isAuto = false;
    const sentBefore = socket.sent.length;
    const held = handed[0]!.ack();
    await until(
      () => store.waiting.length === 1,
      () => "nothing was added",
    );
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(socket.sent.length).toBe(sentBefore);
    await store.let("add m-a");
    const [settle] = await settled(socket);
    expect(settle).toMatchObject({ ack: ["a"] });
    expect([...store.kept]).toEqual([onceKey({ to: "queue:jobs", messageId: "m-a" })]);
    socket.confirm([settle!]);
    expect(await held).toBe(true);
  });

  it("[ONC2] acknowledges a message that is finished, and does not hand it out", async () => {
    const store = new ManualStore();
    store.kept.add(onceKey({ to: "queue:jobs", messageId: "m-a" }));
    const { socket, sub, handed } = await consuming(store);
    socket.receive([delivery(sub, "a", { redelivered: true }), delivery(sub, "b")]);
    expect(await settled(socket)).toMatchObject([{ ack: ["a"] }]);
    await until(
      () => handed.length === 1,
      () => "b was not handed out",
    );
    expect(handles(handed)).toEqual(["b"]);
    expect(store.steps).not.toContain("add m-a");
  });

  it("[ONC3] hands messages out in their order, whichever the store tells of first", async () => {
    const store = new ManualStore();
    const { socket, sub, handed } = await consuming(store);
    store.isAuto = false;
    socket.receive([delivery(sub, "a"), delivery(sub, "b"), delivery(sub, "c")]);
    await store.let("has m-c");
    await store.let("has m-b");
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(handed).toEqual([]);
    await store.let("has m-a");
    await until(
      () => handed.length === 3,
      () => handles(handed).join(),
    );
    expect(handles(handed)).toEqual(["a", "b", "c"]);
  });

  it("[ONC1] release, fail and dead are not the end of a message, and are not kept", async () => {
    const store = new ManualStore();
    const { socket, sub, handed } = await consuming(store);
    socket.receive([delivery(sub, "a"), delivery(sub, "b"), delivery(sub, "c")]);
    await until(
      () => handed.length === 3,
      () => handles(handed).join(),
    );
    void handed[0]!.release();
    void handed[1]!.fail();
    void handed[2]!.dead();
    await settled(socket);
    expect(store.kept.size).toBe(0);
  });

  it("[ONC4] a store that cannot tell ends the loop; one that cannot keep an id lets the ack leave, and is reported", async () => {
    const store = new ManualStore();
    const { socket, sub, handed, errors, run, loop } = await consuming(store);
    socket.receive(delivery(sub, "a"));
    await until(
      () => handed.length === 1,
      () => "nothing was handed out",
    );
    store.isAuto = false;
    void handed[0]!.ack();
    await store.let("add m-a", new Error("disk full"));
    expect(await settled(socket)).toMatchObject([{ ack: ["a"] }]);
    expect(errors).toMatchObject([{ kind: "once", message: expect.stringContaining("disk full") }]);
    socket.receive(delivery(sub, "b"));
    await store.let("has m-b", new Error("disk gone"));
    await loop;
    expect(run.error).toMatchObject({ kind: "once", message: expect.stringContaining("disk gone") });
    expect(handles(handed)).toEqual(["a"]);
  });

  it("[ONC3] what a lost session had delivered is not handed out once the store has told", async () => {
    const store = new ManualStore();
    const made = await consuming(store);
    store.isAuto = false;
    made.socket.receive([delivery(made.sub, "a"), delivery(made.sub, "b")]);
    await until(
      () => store.waiting.length === 2,
      () => store.steps.join(),
    );
    made.socket.drop();
    const next = await made.opened(2);
    await store.let("has m-a");
    await store.let("has m-b");
    const frames = await next.next();
    expect(frames.filter(({ op }) => op === "settle")).toMatchObject([{ release: ["a", "b"] }]);
    expect(made.handed).toEqual([]);
  });
});

it("[ONC5] a key is the address and the id, and no two pairs share one", () => {
  const keys = [
    { to: "queue:a", messageId: "b c" },
    { to: "queue:a b", messageId: "c" },
    { to: 'queue:a","b', messageId: "c" },
    { to: "queue:a", messageId: 'b","c' },
  ].map(onceKey);
  expect(new Set(keys).size).toBe(4);
  // Which life of the queue, and which delivery, make no difference.
  expect(onceKey({ to: "queue:a", messageId: "b", seq: 1, epoch: 2 } as never)).toBe(
    onceKey({ to: "queue:a", messageId: "b" }),
  );
});
