// Header filters: a subscriber that hears only of heavy blue cars, and a queue that keeps those of the north.
// Run it against a broker: npx node examples/selector.ts http://127.0.0.1:8787
const url = new URL(process.argv[2] ?? "http://127.0.0.1:8787");

// The binding: of what is published under cars/, the queue gets what the filter lets through.
const binding = new URL(`/v1/queues/north/bindings/${encodeURIComponent("cars/#")}`, url);
await fetch(binding, { method: "PUT", body: JSON.stringify({ filter: "region = 'north'" }) });

// The subscription: an object in place of a selector asks for equal headers.
const socket = new WebSocket(new URL("/ws", url.href.replace(/^http/, "ws")), "dunlin.v1.json");
const filter = "color = 'blue' AND weight BETWEEN 2000 AND 4000 AND model NOT LIKE 'T%'";
const send = (frame: object) => socket.send(JSON.stringify(frame));
const subscribed = Promise.withResolvers<void>();
const heard = Promise.withResolvers<void>();
socket.onopen = () => {
  send({ op: "hello", id: 1 });
  send({ op: "subscribe", id: 2, sub: 1, to: "topic:cars/+", filter });
};
socket.onmessage = ({ data }) => {
  for (const frame of [JSON.parse(data)].flat()) {
    if (frame.id === 2) subscribed.resolve();
    if (frame.op === "error") throw new Error(frame.message);
    if (frame.op !== "message") continue;
    console.log(`heard: ${frame.body}`);
    if (frame.body === "a blue Volvo") heard.resolve();
  }
};
await subscribed.promise;

const cars = [
  { body: "a red Volvo", headers: { color: "red", weight: "2600", model: "Volvo", region: "north" } },
  { body: "a light blue Mini", headers: { color: "blue", weight: "900", model: "Mini", region: "south" } },
  { body: "a blue Tatra", headers: { color: "blue", weight: "3000", model: "Tatra", region: "north" } },
  { body: "a blue Volvo", headers: { color: "blue", weight: "2600", model: "Volvo", region: "south" } },
];
await fetch(new URL("/v1/topics/cars%2Fsold/messages", url), {
  method: "POST",
  headers: { "content-type": "application/vnd.dunlin.batch+json" },
  body: JSON.stringify({ messages: cars }),
});
await heard.promise;
socket.close();

const receive = new URL("/v1/queues/north/receive", url);
const settle = new URL("/v1/queues/north/settle", url);
for (let left = 2; left > 0; ) {
  const answer = await fetch(receive, { method: "POST", body: JSON.stringify({ max: 10, waitMs: 5_000 }) });
  const { messages } = (await answer.json()) as { messages: { body: string; delivery: string }[] };
  for (const { body } of messages) console.log(`kept: ${body}`);
  await fetch(settle, {
    method: "POST",
    body: JSON.stringify({ ack: messages.map(({ delivery }) => delivery) }),
  });
  left -= messages.length;
}

export {};
