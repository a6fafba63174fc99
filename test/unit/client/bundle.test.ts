// The bundles have shorter names than the sources, and one imports the other: this runs what is served.
import "fake-indexeddb/auto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, expect, it } from "vitest";
import type * as Durable from "../../../client/durable/index.ts";
import type * as Client from "../../../client/index.ts";
import { bundleModule } from "../../../local/build.ts";
import { INTERNAL_NAMES } from "../../../local/internal-names.ts";
import { delivery, ScriptedSocket, until } from "./scripted-socket.ts";

const folder = await mkdtemp(join(tmpdir(), "dunlin-bundle-"));
afterAll(() => rm(folder, { recursive: true }));

async function served<Module>(name: "client.js" | "durable.js"): Promise<Module> {
  // Beside it stands a package.json that makes them modules.
  await writeFile(join(folder, "package.json"), '{"type":"module"}');
  await writeFile(join(folder, name), await bundleModule(name));
  return import(/* @vite-ignore */ pathToFileURL(join(folder, name)).href) as Promise<Module>;
}

it("[CLI12] the bundle of the client sends, consumes, commits, asks and reconnects as its sources do", async () => {
  const { connect } = await served<typeof Client>("client.js");
  const sockets: ScriptedSocket[] = [];
  class Socket extends ScriptedSocket {
    constructor(url: string, protocols: string) {
      super(url, protocols);
      sockets.push(this);
    }
  }
  const opened = async (number: number) => {
    await until(
      () => sockets.length === number,
      () => `${sockets.length} sockets`,
    );
    const socket = sockets[number - 1]!;
    socket.open();
    await socket.nextTexts();
    socket.welcome();
    return socket;
  };
  const dunlin = connect("http://broker.test", { WebSocket: Socket });
  const socket = await opened(1);
  const sent = dunlin.queue("jobs").send({ n: 1 }, { group: "g" });
  const loop = dunlin
    .queue("jobs")
    .consume({ credit: 5, once: { has: async () => false, add: async () => {} } });
  const first = loop.next();
  const frames = await socket.next();
  expect(frames).toMatchObject([
    { op: "publish", to: "queue:jobs", body: { n: 1 }, group: "g", messageId: expect.any(String) },
    { op: "subscribe", to: "queue:jobs", credit: 5, leaseMs: 30_000 },
  ]);
  socket.confirm(frames);
  expect(await sent).toMatchObject({ epoch: 1, duplicate: false });
  const sub = frames[1]!.sub as number;
  socket.receive([delivery(sub, "a"), delivery(sub, "b")]);
  const [a, b] = [(await first).value!, (await loop.next()).value!];
  const acked = a.ack();
  const committed = dunlin.commit({ ack: [b], publish: [{ to: "queue:next", body: 2 }] });
  const asked = dunlin.topic("who").request(null);
  const requests: typeof frames = [];
  while (requests.length < 3) requests.push(...(await socket.next()));
  const by = (op: string) => requests.find((frame) => frame.op === op)!;
  expect(by("commit")).toMatchObject({
    settle: [{ sub, ack: ["b"] }],
    publish: [{ to: "queue:next", body: 2 }],
  });
  socket.receive([
    { op: "ok", id: by("settle").id!, lost: [] },
    { op: "ok", id: by("commit").id!, published: [{ messageId: "m", seq: 1, epoch: 1, duplicate: false }] },
    { op: "reply", id: by("request").id!, body: "I" },
  ]);
  expect(await acked).toBe(true);
  expect(await committed).toMatchObject([{ seq: 1 }]);
  expect((await asked).body).toBe("I");
  void dunlin.queue("jobs").send(2);
  await socket.next();
  socket.drop();
  const next = await opened(2);
  const again = await next.next();
  expect(again.map(({ op }) => op).sort()).toEqual(["publish", "subscribe"]);
  next.confirm(again);
  await dunlin.close({ timeoutMs: 100 });
});

it("[CLI14] the bundle of the durable module sends over the bundle of the client, with its classes", async () => {
  const { connect, DunlinError } = await served<typeof Client>("client.js");
  const { openOutbox, indexedDbOnce } = await served<typeof Durable>("durable.js");
  const sockets: ScriptedSocket[] = [];
  class Socket extends ScriptedSocket {
    constructor(url: string, protocols: string) {
      super(url, protocols);
      sockets.push(this);
    }
  }
  const dunlin = connect("http://broker.test", { WebSocket: Socket });
  const outbox = await openOutbox(dunlin, { maxMessages: 2 });
  const { confirmed } = await outbox.queue("jobs").send({ n: 1 });
  await outbox.queue("jobs").send({ n: 2 });
  await expect(outbox.queue("jobs").send(3)).rejects.toBeInstanceOf(DunlinError);
  await until(
    () => sockets.length === 1,
    () => "no socket",
  );
  const [socket] = sockets;
  socket!.open();
  await socket!.nextTexts();
  socket!.welcome();
  const [first, second] = await socket!.next();
  expect(first).toMatchObject({ op: "publish", body: { n: 1 }, producer: { epoch: 1, seq: 1 } });
  expect(second).toMatchObject({ op: "publish", body: { n: 2 }, producer: { epoch: 1, seq: 2 } });
  const refusal = { op: "error", code: 102, kind: "bad-field", message: "no", retry: "none" };
  socket!.receive([
    { ...refusal, id: first!.id! },
    { ...refusal, id: second!.id!, kind: "out-of-sequence", code: 407 },
  ]);
  await expect(confirmed).rejects.toMatchObject({ kind: "bad-field" });
  const [again] = await socket!.next();
  expect(again).toMatchObject({ body: { n: 2 }, producer: { epoch: 2, seq: 1 } });
  socket!.confirm([again!]);
  await outbox.drained();
  expect(await outbox.refused()).toMatchObject([{ body: { n: 1 } }]);
  const once = await indexedDbOnce();
  await once.add("a");
  expect(await once.has("a")).toBe(true);
  once.close();
  await outbox.close();
  await dunlin.close({ timeoutMs: 0 });
});

it("[CLI12] no name of the public face is shortened", async () => {
  const folder = new URL("../../../client/", import.meta.url);
  const face = await readFile(new URL("index.ts", folder), "utf8");
  const files = [...face.matchAll(/from "\.\/([^"]+)"/g)].map((match) => match[1]!);
  const names: string[] = [];
  for (const file of files) {
    const text = await readFile(new URL(file, folder), "utf8");
    for (const [, name, body] of text.matchAll(
      /^export (?:abstract )?(?:class|interface) (\w+)[\s\S]*?\{\n([\s\S]*?)^\}/gm,
    )) {
      if (!new RegExp(`\\b${name}\\b`).test(face)) continue;
      const open = body!.replace(/\/\*\* @internal \*\/\n.*\n/g, "");
      names.push(
        ...[...open.matchAll(/^ {2}(?:readonly |get |static |async )*(\w+)\??[(:<]/gm)].map(
          (match) => match[1]!,
        ),
      );
    }
  }
  expect(names).toEqual(
    expect.arrayContaining(["firstNumber", "WebSocket", "credit", "messageId", "replyTo", "subscribe"]),
  );
  expect(names.filter((name) => INTERNAL_NAMES.test(name))).toEqual([]);
});
