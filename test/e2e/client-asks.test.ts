// Asking, answering and filtering over the client.
import { expect } from "vitest";
import { connect } from "../../client/index.ts";
import { withBroker } from "./harness.ts";

const it = withBroker();

it("[CLI16] a request gets the reply of a consumer, no-responders without one, and timeout without a reply", async ({
  world,
}) => {
  const [asker, worker] = [0, 1].map(() => connect(world.broker.url, { namespace: world.ns }));
  await expect(asker!.queue("double").request(21)).rejects.toMatchObject({
    kind: "no-responders",
    code: 406,
  });
  const loop = (async () => {
    for await (const message of worker!.queue<number>("double").consume()) {
      if (message.body > 0) await message.reply(message.body * 2, { headers: { by: "worker" } });
      await message.ack();
    }
  })();
  await expect.poll(async () => (await world.call("GET", "/v1/queues/double")).status).toBe(200);
  await expect.poll(async () => (await world.stats("double")).consumers).toBe(1);
  const replies = await Promise.all([1, 2, 3].map((n) => asker!.queue("double").request<number>(n)));
  expect(replies.map(({ body, headers }) => ({ body, headers }))).toEqual(
    [2, 4, 6].map((body) => ({ body, headers: { by: "worker" } })),
  );
  const late = asker!.queue("double").request(-1, { timeoutMs: 300 });
  await expect(late).rejects.toMatchObject({ kind: "timeout", code: 503 });
  await Promise.all([asker!.close(), worker!.close()]);
  await loop;
});

it("[CLI17] a subscription with a filter hears what matches", async ({ world }) => {
  const dunlin = connect(world.broker.url, { namespace: world.ns });
  const news = dunlin.topic<number>("news");
  const red = news.subscribe({ filter: "colour = 'red'" });
  const first = red.next();
  const all = news.subscribe();
  const firstOfAll = all.next();
  await dunlin.ready();
  await news.publish(0, { headers: { colour: "blue" } });
  await firstOfAll;
  await news.publish(1, { headers: { colour: "blue" } });
  await news.publish(2, { headers: { colour: "red" } });
  expect((await first).value?.body).toBe(2);
  await dunlin.close();
});
