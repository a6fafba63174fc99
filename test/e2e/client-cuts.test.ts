// Producers and consumers on a bad day: connections cut, a network that swallows everything, a broker killed. Whatever happens,
// each job's effect happens once.
import { expect } from "vitest";
import { connect } from "../../client/index.ts";
import { networkTo } from "../support/network.ts";
import { eventually, withBroker } from "./harness.ts";

const JOBS = 12_000;
const LANES = 150;

const it = withBroker();

it("[CLI3] [CLI5] [DUR4] each job is stored, handed out and settled once, through cuts, silence and kills", async ({
  world,
}) => {
  const network = await networkTo(world.broker.port);
  const options = { namespace: world.ns, pingMs: 2_000 };
  const clients = [0, 1, 2].map(() => connect(network.url, options));
  const [producer, ...consumers] = clients;
  const seqs = new Set<number>();
  const handedOut = new Map<number, number>();
  const effects = new Map<number, number>();
  let lost = 0;

  const consume = async (client: typeof producer & {}) => {
    for await (const message of client.queue<number>("jobs").consume({ credit: 100 })) {
      const job = message.body;
      handedOut.set(job, (handedOut.get(job) ?? 0) + 1);
      void message.ack().then((held) => {
        if (held) effects.set(job, (effects.get(job) ?? 0) + 1);
        else lost += 1;
      });
    }
  };
  let next = 0;
  const produce = async () => {
    while (next < JOBS) {
      const { seq } = await producer!.queue<number>("jobs").send(next++);
      seqs.add(seq);
    }
  };
  const loops = consumers.map(consume);
  const lanes = Promise.all(Array.from({ length: LANES }, produce));

  const troubles = [
    () => network.cut(),
    async () => {
      network.fallSilent();
      await eventually(() => expect(clients.map(({ state }) => state)).not.toContain("open"));
      network.recover();
    },
    () => network.cut(),
    async () => {
      await world.broker.kill();
      await world.broker.restart();
    },
    () => network.cut(),
    () => network.cut(),
  ];
  for (const [index, trouble] of troubles.entries()) {
    const share = Math.floor((JOBS * (index + 1)) / (troubles.length + 2));
    await eventually(() => expect(effects.size).toBeGreaterThanOrEqual(share), 60_000);
    await trouble();
  }
  await lanes;
  await eventually(() => expect(effects.size + lost).toBeGreaterThanOrEqual(JOBS), 60_000);

  expect(lost).toBe(0);
  expect(seqs.size).toBe(JOBS);
  expect([...handedOut.values()].filter((times) => times > 1)).toEqual([]);
  expect([...effects.values()].filter((times) => times > 1)).toEqual([]);
  expect(await world.stats("jobs")).toMatchObject({ accepted: JOBS, settled: JOBS, ready: 0, leased: 0 });
  await Promise.all(clients.map((client) => client.close()));
  await Promise.all(loops);
  await network.close();
}, 240_000);
