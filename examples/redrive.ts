// Dead letters go back: messages that failed too often wait in orders.dead until somebody has mended what was wrong.
// Run it against a broker: npx node examples/redrive.ts http://127.0.0.1:8787
const url = new URL(process.argv[2] ?? "http://127.0.0.1:8787");

async function call(method: string, path: string, body?: unknown): Promise<Record<string, unknown>> {
  const init = { method, ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
  const answer = await fetch(new URL(path, url), {
    ...init,
    headers: { "content-type": "application/json" },
  });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  return (await answer.json()) as Record<string, unknown>;
}
const take = async () => {
  const { messages } = await call("POST", "/v1/queues/orders/receive", { max: 10, waitMs: 5_000 });
  return messages as { delivery: string; body: { id: number } }[];
};

await call("PUT", "/v1/queues/orders", { maxFailures: 1 });
for (const id of [1, 2]) await call("POST", "/v1/queues/orders/messages", { id });
// The shop is closed: with one failure allowed, both die of it.
const failed = (await take()).map(({ delivery }) => ({ delivery, reason: "the shop is closed" }));
await call("POST", "/v1/queues/orders/settle", { fail: failed });

// They are on their way to the queue of the dead.
for (let ready = 0; ready < 2; ) {
  const answer = await fetch(new URL("/v1/queues/orders.dead", url));
  if (answer.ok) ready = ((await answer.json()) as { stats: { ready: number } }).stats.ready;
}

// Later: at most 100 a second, so that the shop is not run over. Called for the queue they died in, it means its own letters.
let task = await call("POST", "/v1/queues/orders/redrive", { perSecond: 100 });
while (task.running) task = await call("GET", "/v1/queues/orders/redrive");
console.log(`moved ${task.moved}`);
for (let left = 2; left > 0; ) {
  const messages = await take();
  for (const { body } of messages) console.log(`order ${body.id} again`);
  await call("POST", "/v1/queues/orders/settle", { ack: messages.map(({ delivery }) => delivery) });
  left -= messages.length;
}

export {};
