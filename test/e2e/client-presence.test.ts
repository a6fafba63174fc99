// The client's presence helpers against a real broker: entering, watching, and a bad day between the two.
import { expect } from "vitest";
import { connect, type Dunlin } from "../../client/index.ts";
import { enterPresence, type Presence, watchPresence } from "../../client/presence/presence.ts";
import { networkTo } from "../support/network.ts";
import { eventually, withBroker } from "./harness.ts";

const it = withBroker();

/** Watches a room, and keeps what it was told last and every change. */
function watch(dunlin: Dunlin, room: string) {
  const seen = { now: undefined as Presence<number> | undefined, changes: [] as string[] };
  void (async () => {
    for await (const presence of watchPresence<number>(dunlin, room)) {
      seen.now = presence;
      seen.changes.push(`${presence.change.action} ${presence.change.client ?? presence.count}`);
    }
  })();
  return {
    seen,
    members: () => [...(seen.now?.members ?? [])].map(([client, { data }]) => `${client} ${data}`).sort(),
  };
}

it("[PRS17] enter, update and leave, as a watcher sees them", async ({ world }) => {
  const open = (client: string) => connect(world.broker.url, { namespace: world.ns, client });
  const [ann, eve] = [open("ann"), open("eve")];
  const { seen, members } = watch(eve, "hall");
  await eventually(() => expect(seen.now).toMatchObject({ count: 0 }));
  const here = enterPresence(ann, "hall", 1);
  await here.entered;
  await here.update(2);
  await eventually(() => expect(members()).toEqual(["ann 2"]));
  await here.leave();
  await eventually(() => expect(members()).toEqual([]));
  expect(seen.changes).toEqual(["snapshot 0", "enter ann", "update ann", "leave ann"]);
  const other = enterPresence(ann, "hall", 3);
  await other.entered;
  await ann.close();
  await eventually(() => expect(seen.changes.slice(4)).toEqual(["enter ann", "leave ann"]));
  await eve.close();
});

it("[PRS17] over cuts and a kill of the broker members are there again, and watchers know it", async ({
  world,
}) => {
  const network = await networkTo(world.broker.port);
  const open = (client: string, sessionExpirySeconds: number) =>
    connect(network.url, { namespace: world.ns, client, sessionExpirySeconds, pingMs: 2_000 });
  const [kept, lost, eve] = [open("kept", 60), open("lost", 0), open("eve", 0)];
  const { seen, members } = watch(eve, "hall");
  await Promise.all([enterPresence(kept, "hall", 1).entered, enterPresence(lost, "hall", 2).entered]);
  await eventually(() => expect(members()).toEqual(["kept 1", "lost 2"]));
  for (const trouble of [
    () => network.cut(),
    async () => {
      await world.broker.kill();
      await world.broker.restart();
    },
    () => network.cut(),
  ]) {
    await trouble();
    const marked = seen.changes.length;
    const marker = enterPresence(kept, `marker`, 0);
    await marker.entered;
    await eventually(() => expect([eve.state, lost.state, kept.state]).toEqual(["open", "open", "open"]));
    await eventually(() => expect(members()).toEqual(["kept 1", "lost 2"]), 30_000);
    // Its session went on: nobody saw it leave.
    expect(seen.changes.slice(marked)).not.toContain("leave kept");
  }
  for (const client of [kept, lost, eve]) await client.close();
  await network.close();
});
