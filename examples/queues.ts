// What a queue can do for its consumers: priorities, one active consumer, filters, delivery to all of a user's devices.
// Run it against a broker: npx node examples/queues.ts http://127.0.0.1:8787
const url = new URL(process.argv[2] ?? "http://127.0.0.1:8787");
const run = Date.now().toString(36);

/** A call on a queue of this run: `call("PUT", "jobs", "", {…})`. */
async function call(
  method: string,
  queue: string,
  path: string,
  body: object,
): Promise<Record<string, never>> {
  const target = new URL(`/v1/queues/${queue}-${run}${path}${url.search}`, url);
  const answer = await fetch(target, { method, body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json() as Promise<Record<string, never>>;
}

/** A consumer that prints what it hears and settles nothing. `heard` ends when it has heard so much. */
async function consumer(name: string, queue: string, fields: object = {}) {
  const path = `/ws?client=${name}${url.search.replace("?", "&")}`;
  const socket = new WebSocket(new URL(path, url.href.replace(/^http/, "ws")), "dunlin.v1.json");
  const frames: Record<string, unknown>[] = [];
  let wake = () => {};
  socket.onmessage = ({ data }) => {
    for (const frame of [JSON.parse(data)].flat()) {
      if (frame.op === "error") throw new Error(frame.message);
      if (frame.op === "message") console.log(`${name} gets ${frame.body}`);
      if (frame.op === "event" && frame.kind === "active") console.log(`${name} active: ${frame.active}`);
      if (frame.op === "event" && frame.kind === "settled") console.log(`${name}: settled elsewhere`);
      if (frame.op === "message" || frame.op === "event" || frame.id === 2) frames.push(frame);
    }
    wake();
  };
  await new Promise((open) => {
    socket.onopen = open;
  });
  const send = (frame: object) => socket.send(JSON.stringify(frame));
  send({ op: "hello", id: 1, client: name });
  send({ op: "subscribe", id: 2, sub: 1, to: `queue:${queue}-${run}`, ...fields });
  const heard = async (count: number) => {
    while (frames.length < count) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    return frames[count - 1]!;
  };
  await heard(1);
  const close = () => {
    socket.onmessage = null;
    socket.close();
  };
  return { send, heard, close };
}

function publish(queue: string, ...messages: object[]) {
  const headers = { "content-type": "application/vnd.dunlin.batch+json" };
  const target = new URL(`/v1/queues/${queue}-${run}/messages${url.search}`, url);
  return fetch(target, { method: "POST", headers, body: JSON.stringify({ messages }) });
}

async function priorities(): Promise<void> {
  await publish("mail", { body: "a newsletter" }, { body: "a password reset", priority: 9 });
  const worker = await consumer("mailer", "mail");
  await worker.heard(3);
  worker.close();
}

async function oneActive(): Promise<void> {
  await call("PUT", "ledger", "", { singleActiveConsumer: true });
  const first = await consumer("writer-1", "ledger");
  await first.heard(2);
  const second = await consumer("writer-2", "ledger");
  await second.heard(2);
  await publish("ledger", { body: "entry 1" }, { body: "entry 2" });
  await first.heard(4);
  first.close();
  await second.heard(5);
  second.close();
}

async function filters(): Promise<void> {
  const gpu = await consumer("gpu-worker", "render", { filter: "needs = 'gpu'" });
  await publish("render", { body: "a page" }, { body: "a film", headers: { needs: "gpu" } });
  await gpu.heard(2);
  const any = await consumer("any-worker", "render");
  await any.heard(2);
  for (const worker of [gpu, any]) worker.close();
}

async function devices(): Promise<void> {
  await call("PUT", "alerts", "", { delivery: "all" });
  const phone = await consumer("phone", "alerts");
  const desk = await consumer("desk", "alerts");
  await publish("alerts", { body: "the doorbell" });
  const { delivery } = await phone.heard(2);
  await desk.heard(2);
  phone.send({ op: "settle", sub: 1, ack: [delivery] });
  await desk.heard(3);
  for (const device of [phone, desk]) device.close();
}

export {};

await priorities();
await oneActive();
await filters();
await devices();
