// Commits: transfers move through two queues and a topic, and whatever dies on the way, each is booked once.
// Run it against a broker: npx node examples/commit.ts http://127.0.0.1:8787
const url = new URL(process.argv[2] ?? "http://127.0.0.1:8787");

interface Message {
  delivery: string;
  body: { from: string; to: string; cents: number };
}

async function call<T>(path: string, body: unknown): Promise<T> {
  const headers = { "content-type": "application/json" };
  const answer = await fetch(new URL(path, url), { method: "POST", headers, body: JSON.stringify(body) });
  const result = (await answer.json()) as T & { message?: string };
  if (!answer.ok) throw new Error(`${path}: ${result.message}`);
  return result;
}

await call("/v1/queues/transfers/messages", { from: "ann", to: "bob", cents: 500 });
const { messages } = await call<{ messages: Message[] }>("/v1/queues/transfers/receive", { waitMs: 5_000 });

for (const { delivery, body } of messages) {
  // The transfer is done exactly when both bookings are on their way and everybody who listens hears of it.
  const commit = {
    settle: [{ queue: "transfers", ack: [delivery] }],
    publish: [
      { to: "queue:bookings", group: body.from, body: { account: body.from, cents: -body.cents } },
      { to: "queue:bookings", group: body.to, body: { account: body.to, cents: body.cents } },
      { to: "topic:transfers/done", body },
    ],
  };
  const { published } = await call<{ published: unknown[] }>("/v1/commit", commit);
  console.log(`committed: ${published.length} messages`);
  // An answer that was lost is asked for again: nothing is booked twice.
  await call("/v1/commit", commit);
}

const { messages: bookings } = await call<{ messages: { body: { account: string; cents: number } }[] }>(
  "/v1/queues/bookings/receive",
  { max: 10, waitMs: 5_000 },
);
for (const { body } of bookings) console.log(`booked: ${body.account} ${body.cents}`);

export {};
