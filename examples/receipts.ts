// Receipts and a numbered producer: whoever sent a job hears how it ended and who did it, and repeats without fear.
// Run it against a broker: npx node examples/receipts.ts http://127.0.0.1:8787
import { connect } from "../client/index.ts";

const url = process.argv[2] ?? "http://127.0.0.1:8787";

async function call(path: string, body: unknown, contentType = "application/json"): Promise<unknown> {
  const headers = { "content-type": contentType };
  return (await fetch(new URL(path, url), { method: "POST", headers, body: JSON.stringify(body) })).json();
}

// The shop numbers what it sends. Its epoch rises with each of its lives, so that a former one that still runs is refused.
const epoch = Date.now();
async function send(seq: number, item: string): Promise<void> {
  const message = { body: { item }, receiptTo: "queue:packed", producer: { id: "shop", epoch, seq } };
  const batch = "application/vnd.dunlin.batch+json";
  const answer = await call("/v1/queues/packing/messages", { messages: [message] }, batch);
  const [{ duplicate }] = answer as [{ duplicate: boolean }];
  console.log(`${seq}: ${duplicate ? "was there before" : "stored"}`);
}
await send(1, "kettle");
await send(2, "pan");
await send(2, "pan");

const worker = connect(url, { client: "worker-7" });
let left = 2;
for await (const message of worker.queue<{ item: string }>("packing").consume()) {
  if (message.body.item === "pan") await message.dead("no pans left");
  else await message.ack();
  if (--left === 0) break;
}
await worker.close();

for (let left = 2; left > 0; ) {
  const answer = await call("/v1/queues/packed/receive", { max: 2, waitMs: 5_000 });
  const { messages } = answer as {
    messages: { delivery: string; body: { seq: number; outcome: string; client: string; reason?: string } }[];
  };
  for (const { body } of messages) {
    console.log(`${body.seq}: ${body.outcome} by ${body.client}${body.reason ? `, ${body.reason}` : ""}`);
  }
  await call("/v1/queues/packed/settle", { ack: messages.map(({ delivery }) => delivery) });
  left -= messages.length;
}
