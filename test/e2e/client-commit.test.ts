// Commits over the client, against the broker itself: two queues settled and three addresses published to, or nothing of it.
import { expect } from "vitest";
import { connect } from "../../client/index.ts";
import { withBroker } from "./harness.ts";

const it = withBroker();

it("[CLI15] [CMT1] settles messages of two queues and publishes to queues and topics as one act", async ({
  world,
}) => {
  const dunlin = connect(world.broker.url, { namespace: world.ns });
  await dunlin.queue("orders").send({ id: 7 });
  await dunlin.queue("stock").send({ item: "tea" });
  const heard = dunlin.topic("events").subscribe();
  const event = heard.next();
  const orders = dunlin.queue<{ id: number }>("orders").consume();
  const stock = dunlin.queue<{ item: string }>("stock").consume();
  const order = (await orders.next()).value!;
  const item = (await stock.next()).value!;
  const receipts = await dunlin.commit({
    ack: [order, item],
    publish: [
      { to: "queue:invoices", body: { for: order.body.id } },
      { to: "queue:orders", body: { id: 8 } },
      { to: "topic:events", body: "ordered" },
    ],
  });
  expect(receipts).toMatchObject([{ seq: 1 }, { seq: 2 }, { seq: 1 }]);
  expect((await event).value?.body).toBe("ordered");
  expect(await world.stats("orders")).toMatchObject({ settled: 1, accepted: 2 });
  expect(await world.stats("stock")).toMatchObject({ settled: 1, leased: 0 });
  expect(await world.stats("invoices")).toMatchObject({ ready: 1 });
  await dunlin.close();
});

it("[CLI15] [CMT4] one that is refused leaves everything as it was", async ({ world }) => {
  const dunlin = connect(world.broker.url, { namespace: world.ns });
  await world.declare("small", { maxMessages: 1 });
  await dunlin.queue("small").send("fills it");
  const orders = dunlin.queue("small").consume({ credit: 1 });
  const held = (await orders.next()).value!;
  await dunlin.queue("small").send("fills it again");
  const publish = [{ to: "queue:small", body: "no room" }];
  await expect(dunlin.commit({ ack: [], publish })).rejects.toMatchObject({ kind: "queue-full" });
  expect(await world.stats("small")).toMatchObject({ leased: 1, ready: 1, settled: 0 });
  expect(await held.ack()).toBe(true);
  await expect(dunlin.commit({ ack: [held], publish: [] })).rejects.toMatchObject({ kind: "lease-lost" });
  await dunlin.close();
});
