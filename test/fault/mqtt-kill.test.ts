// SIGKILL under MQTT load: what was published at QoS 2 arrives once, at QoS 1 at least once, in order, at sessions near and away.
import { afterEach, expect, it } from "vitest";
import { type Broker, startBroker } from "../support/broker.ts";
import { LoadPublisher, LoadSubscriber } from "../support/mqtt-load.ts";
import { createRandom } from "../support/random.ts";

const KILLS = 5;
const DRAIN_MS = 60_000;
/** Few enough that a session that is away may keep all of them. */
const MOST_MESSAGES = 2_500;
const SHOWN = 20;

let broker: Broker | undefined;
afterEach(async ({ task }) => {
  if (task.result?.state === "fail") console.log(broker?.output());
  await broker?.stop();
  broker = undefined;
});

it("[MQD25] [MQX5] [MQC20] [MQD10] [MQD11] [MQD12] SIGKILL under load: QoS 2 loses and doubles nothing, QoS 1 loses nothing", {
  timeout: 240_000,
}, async () => {
  const random = createRandom(process.env.FAULT_SEED ? Number(process.env.FAULT_SEED) : undefined);
  const gateways = random.pick(["1", "3"]);
  console.log(`seed ${random.seed} (repeat with FAULT_SEED=${random.seed}), ${gateways} gateways`);
  broker = await startBroker({ env: { GATEWAYS: gateways } });
  const url = `${broker.url.replace("http", "ws")}/mqtt`;
  const publishers = [
    new LoadPublisher(url, 4, "two-four", "load/a", 2, MOST_MESSAGES),
    new LoadPublisher(url, 5, "two-five", "load/b", 2, MOST_MESSAGES),
    new LoadPublisher(url, 5, "one-five", "load/b", 1, MOST_MESSAGES),
  ];
  const subscribers = [
    new LoadSubscriber(url, 4, "exact", ["load/a", "load/b"], 2),
    new LoadSubscriber(url, 5, "wildcard", ["load/#"], 2),
    new LoadSubscriber(url, 5, "once", ["load/+"], 1),
  ];
  const away = new LoadSubscriber(url, 5, "away", ["+/a", "+/b"], 2);
  const members = ["one", "two", "three"].map(
    (name) => new LoadSubscriber(url, 5, `member-${name}`, ["$share/group/load/#"], 2),
  );
  for (const subscriber of [...subscribers, ...members, away]) subscriber.start();
  for (const subscriber of [...subscribers, ...members, away]) await subscriber.subscribed();
  await away.stop();
  for (const publisher of publishers) publisher.start();

  await expect.poll(() => subscribers[0]!.total, { timeout: DRAIN_MS }).toBeGreaterThan(0);
  for (let kill = 1; kill <= KILLS; kill++) {
    await sleep(random.chance(0.3) ? random.integer(0, 300) : random.integer(400, 1_500));
    await broker.kill();
    await broker.restart();
  }
  await sleep(500);
  for (const publisher of publishers) publisher.finish();
  for (const publisher of publishers) {
    await expect.poll(() => publisher.sent - publisher.confirmed, { timeout: DRAIN_MS }).toBe(0);
  }
  const sent = publishers.reduce((sum, publisher) => sum + publisher.sent, 0);
  const back = new LoadSubscriber(url, 5, "away", [], 2);
  back.connections = 1;
  back.start();
  const readers = [...subscribers, back];
  const shared = () => members.reduce((sum, { total }) => sum + total, 0);
  await expect
    .poll(() => readers.every((reader) => reader.total >= sent) && shared() >= sent, { timeout: DRAIN_MS })
    .toBe(true)
    .catch(() => {});
  for (const one of [...publishers, ...readers, ...members]) await one.stop();

  const reconnects = readers.reduce((sum, { connections }) => sum + connections, 0);
  console.log(`${sent} messages, ${KILLS} kills, ${reconnects} connections of subscribers`);
  const found = [...publishers, ...readers, ...members].flatMap(({ problems }) => problems);
  expect(found.slice(0, SHOWN), `seed ${random.seed}`).toEqual([]);
  for (const reader of readers) {
    for (const publisher of publishers) {
      const mayRepeat = publisher.clientId.startsWith("one") || reader.clientId === "once";
      const numbers = reader.seen.get(publisher.clientId) ?? [];
      const firsts = mayRepeat ? [...new Set(numbers)] : numbers;
      expect(
        faults(firsts, publisher.sent),
        `${publisher.clientId} to ${reader.clientId}, seed ${random.seed}`,
      ).toEqual([]);
    }
  }
  for (const publisher of publishers) {
    const numbers = members.flatMap(({ seen }) => seen.get(publisher.clientId) ?? []).sort((a, b) => a - b);
    const got = publisher.clientId.startsWith("one") ? [...new Set(numbers)] : numbers;
    expect(faults(got, publisher.sent), `${publisher.clientId} to the group, seed ${random.seed}`).toEqual(
      [],
    );
  }
  // A run that did next to nothing proves next to nothing.
  expect(sent).toBeGreaterThan(50);
});

/** Where a list of numbers is not 0, 1, 2 … `count - 1`. */
function faults(numbers: number[], count: number): string[] {
  const times = new Map<number, number>();
  for (const number of numbers) times.set(number, (times.get(number) ?? 0) + 1);
  const found: string[] = [];
  for (let number = 0; number < count; number++) {
    if (!times.has(number)) found.push(`${number} is missing`);
    else if (times.get(number)! > 1) found.push(`${number} came ${times.get(number)} times`);
  }
  const late = numbers.findIndex((number, index) => index > 0 && number < numbers[index - 1]!);
  if (found.length === 0 && late > 0) found.push(`${numbers[late]} came after ${numbers[late - 1]}`);
  return found.slice(0, SHOWN);
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
