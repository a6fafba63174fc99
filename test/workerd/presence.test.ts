// Rooms inside the runtime, with the gateway and the room's object evicted between any two steps, and sockets that are gone with them.
import { evictDurableObject, runDurableObjectAlarm } from "cloudflare:test";
import { afterEach, describe, expect, it } from "vitest";
import { call, eventually, type Frame, Wire } from "./support/client.ts";
import { evict, gatewayStub, topicStub } from "./support/objects.ts";

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

async function members(room: string): Promise<string[]> {
  const answer = await call(`/v1/topics/${encodeURIComponent(`$presence/${room}`)}/retained`);
  const { body } = await answer.json<{ body: { members: { client: string }[] } }>();
  return body.members.map(({ client }) => client).sort();
}

/** Comes, changes, resumes and goes; returns what a watcher saw, by seq. */
async function script(between: (room: string) => Promise<void>): Promise<unknown[]> {
  const room = `room-${++runs}`;
  const id = (name: string) => `${name}-${room}`;
  const act = (wire: Wire, action: string, data?: unknown) =>
    wire.ask({ op: "presence", to: `topic:${room}`, action, data });
  const seen: unknown[] = [];
  const watcher = await connect();
  const note = (...frames: Frame[]) => {
    for (const { seq, body } of frames) {
      const { client, members: _, ...rest } = body as { client?: string; members?: unknown };
      seen.push([seq, client?.split("-")[0], rest]);
    }
  };
  await watcher.ask({ op: "subscribe", sub: 1, to: `topic:$presence/${room}` });
  note(...(await watcher.take(1)));
  const pause = () => between(room);
  const ann = await connect({ client: id("ann"), session: { expirySeconds: 60 } });
  await pause();
  await act(ann, "enter", 1);
  note(...(await watcher.take(1)));
  await pause();
  const bob = await connect({ client: id("bob") });
  await act(bob, "enter");
  note(...(await watcher.take(1)));
  await pause();
  await act(ann, "update", 2);
  note(...(await watcher.take(1)));
  await pause();
  ann.close();
  await pause();
  const again = await connect({ client: id("ann"), session: { expirySeconds: 60 } });
  await pause();
  bob.close();
  note(...(await watcher.take(1)));
  await pause();
  await act(again, "update", 2);
  expect(await members(room)).toEqual([id("ann")]);
  await pause();
  await again.ask({ op: "bye" });
  note(...(await watcher.take(1)));
  expect(await members(room)).toEqual([]);
  expect(watcher.frames).toEqual([]);
  return seen;
}

describe("rooms over evictions", () => {
  it("[PRS4] [PRS12] what a watcher sees is the same, whatever is evicted between two steps", async () => {
    const plain = await script(async () => undefined);
    expect(plain.map((each) => (each as unknown[])[0])).toEqual([0, 1, 2, 3, 4, 5]);
    const topic = (room: string) => evict(topicStub(`$presence/${room}`));
    expect(await script(topic)).toEqual(plain);
    expect(await script(() => evict(gatewayStub()))).toEqual(plain);
    const both = async (room: string) => {
      await evict(gatewayStub());
      await topic(room);
    };
    expect(await script(both)).toEqual(plain);
  });

  it("[PRS13] a gateway that lost its sockets with its memory ends their presence as soon as it wakes, which its alarm sees to", async () => {
    const room = `room-${++runs}`;
    const kept = await connect({ client: `kept-${room}`, session: { expirySeconds: 600 } });
    const gone = await connect({ client: `gone-${room}` });
    for (const wire of [kept, gone]) await wire.ask({ op: "presence", to: `topic:${room}`, action: "enter" });
    await evictDurableObject(gatewayStub(), { webSockets: "close" });
    expect(await runDurableObjectAlarm(gatewayStub())).toBe(true);
    await eventually("the ghost's end", async () =>
      (await members(room)).join() === `kept-${room}` ? true : undefined,
    );
    expect(await members(room)).toEqual([`kept-${room}`]);
  });

  it("[PRS8] a member's time ends though its room's object sleeps", async () => {
    const room = `room-${++runs}`;
    const path = `/v1/topics/${encodeURIComponent(`$presence/${room}`)}/messages`;
    const headers = { "content-type": "application/json", "dunlin-client": "web", "dunlin-ttl-ms": "300" };
    const watcher = await connect();
    await watcher.ask({ op: "subscribe", sub: 1, to: `topic:$presence/${room}` });
    const answer = await call(path, { method: "POST", headers, body: '{"action":"enter"}' });
    expect(answer.status).toBe(201);
    await watcher.take(2);
    await evict(topicStub(`$presence/${room}`));
    const [told] = await watcher.take(1);
    expect(told).toMatchObject({ body: { action: "leave", client: "web" }, seq: 2 });
  });
});
