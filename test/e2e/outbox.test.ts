// The durable outbox against a real broker, on an IndexedDB in memory: what its own tests in a browser do not reach.
import "fake-indexeddb/auto";
import { expect } from "vitest";
import { openOutbox } from "../../client/durable/outbox.ts";
import { connect } from "../../client/index.ts";
import { networkTo } from "../support/network.ts";
import { eventually, withBroker } from "./harness.ts";

const it = withBroker();

it("[OBX4] stores each message once in order without the broker's dedup window, though answers are lost again and again", async ({
  world,
}) => {
  await world.declare("jobs", { dedupWindowMs: 0 });
  const network = await networkTo(world.broker.port);
  const dunlin = connect(network.url, { namespace: world.ns, pingMs: 1_000 });
  const outbox = await openOutbox(dunlin, { name: world.ns });
  const jobs = 1_500;
  for (let job = 0; job < jobs; job += 50) {
    await Promise.all(Array.from({ length: 50 }, (_, index) => outbox.queue("jobs").send(job + index)));
    if (job % 250 === 200) await network.cut();
    if (job === 700) {
      await world.broker.kill();
      await world.broker.restart();
    }
  }
  await outbox.drained();
  expect(await outbox.refused()).toEqual([]);
  expect((await world.stats("jobs")).accepted).toBe(jobs);
  const got: unknown[] = [];
  for await (const message of dunlin.queue("jobs").consume()) {
    got.push(message.body);
    void message.ack();
    if (got.length === jobs) break;
  }
  expect(got).toEqual(Array.from({ length: jobs }, (_, job) => job));
  await outbox.close();
  await dunlin.close();
  await network.close();
}, 120_000);

it("[OBX6] [OBX8] goes on behind messages that the broker refuses, and after the queue was deleted", async ({
  world,
}) => {
  const dunlin = connect(world.broker.url, { namespace: world.ns });
  const outbox = await openOutbox(dunlin, { name: world.ns });
  const jobs = outbox.queue<unknown>("jobs");
  await Promise.all([
    jobs.send(1),
    jobs.send("x".repeat(1_100_000)),
    jobs.send(2),
    jobs.send(3, { priority: 99 }),
    jobs.send(4),
    outbox.topic("news").publish("hello", { retain: true }),
  ]);
  await outbox.drained();
  expect((await outbox.refused()).map(({ error }) => error.kind)).toEqual(["message-too-large", "bad-field"]);
  expect((await world.peek("jobs")).map(({ body }) => body)).toEqual([1, 2, 4]);
  expect((await world.call("DELETE", "/v1/queues/jobs")).status).toBeLessThan(300);
  const { confirmed } = await jobs.send(5);
  expect(await confirmed).toMatchObject({ seq: 1, duplicate: false });
  await eventually(async () => expect((await world.peek("jobs")).map(({ body }) => body)).toEqual([5]));
  const retained = await world.call("GET", "/v1/topics/news/retained");
  expect(retained.body).toMatchObject({ body: "hello" });
  await outbox.close();
  await dunlin.close();
});
