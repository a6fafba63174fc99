// Dunlin's JSON protocol spoken directly: array frames, strings made beforehand, one `settle` for the acks of a turn.
import type { Job } from "./job.ts";
import { type FrameSocket, openSocket } from "./socket.ts";
import { type CycleEvents, forEverySlot, type Handle, payloadOf, slotOf, type Wire } from "./wire.ts";

const HELLO_ID = 1;
const SUBSCRIBE_ID = 2;
const FIRST_FREE_ID = 3;

interface ServerFrame {
  op: string;
  id?: number;
  body?: string;
  delivery?: Handle;
  settled?: number;
  lost?: unknown[];
}

type OnFrame = (frame: ServerFrame) => void;

/** A producer and a consumer connection for each pair; every publish and every settle asks for its confirm. */
export function jsonWire(job: Job, events: CycleEvents): Wire {
  const to = JSON.stringify(`queue:${job.queue}`);
  const publishes = forEverySlot(
    job,
    (slot) => `{"op":"publish","id":${slot + FIRST_FREE_ID},"to":${to},"body":"${payloadOf(job, slot)}"}`,
  );
  const producers: FrameSocket[] = [];
  const consumers: FrameSocket[] = [];
  const settling = new Map<number, readonly number[]>();
  let settleId = FIRST_FREE_ID;

  const onProducer: OnFrame = (frame) => {
    if (frame.op === "ok") events.confirmed(frame.id! - FIRST_FREE_ID);
    else events.failed(`a producer got ${JSON.stringify(frame)}`);
  };
  const onConsumer =
    (consumer: number): OnFrame =>
    (frame) => {
      if (frame.op === "message") events.delivered(slotOf(frame.body!), consumer, frame.delivery!);
      else if (frame.op === "ok" && frame.lost?.length === 0) {
        for (const slot of settling.get(frame.id!)!) events.settled(slot);
        settling.delete(frame.id!);
      } else events.failed(`a consumer got ${JSON.stringify(frame)}`);
    };

  return {
    async open() {
      for (let pair = 0; pair < job.pairs; pair++) {
        const consumer = await openJson(job.url, onConsumer(pair), events);
        await consumer.ask(
          SUBSCRIBE_ID,
          `{"op":"subscribe","id":${SUBSCRIBE_ID},"sub":1,"to":${to},"credit":${job.window}}`,
        );
        consumers.push(consumer.socket);
        producers.push((await openJson(job.url, onProducer, events)).socket);
      }
    },
    publish(producer, slots) {
      const frames = slots.map((slot) => publishes[slot]!);
      producers[producer]!.send(frames.length === 1 ? frames[0]! : `[${frames.join(",")}]`);
    },
    settle(consumer, handles, slots) {
      const id = settleId++;
      settling.set(id, slots);
      consumers[consumer]!.send(`{"op":"settle","id":${id},"sub":1,"ack":${JSON.stringify(handles)}}`);
    },
    close() {
      for (const socket of [...producers, ...consumers]) socket.close();
    },
  };
}

/** Connects and says hello; `ask` sends a frame and waits for the answer with its id. */
async function openJson(url: string, on: OnFrame, events: CycleEvents) {
  const waiting = new Map<number, () => void>();
  const handle: OnFrame = (frame) => {
    const answered = frame.id === undefined ? undefined : waiting.get(frame.id);
    if (answered === undefined) on(frame);
    else if (frame.op === "error") events.failed(`refused: ${JSON.stringify(frame)}`);
    else {
      waiting.delete(frame.id!);
      answered();
    }
  };
  const socket = await openSocket(`${url}/ws`, "dunlin.v1.json", {
    frame(bytes) {
      const frames = JSON.parse(bytes.toString()) as ServerFrame | ServerFrame[];
      if (Array.isArray(frames)) frames.forEach(handle);
      else handle(frames);
    },
    closed: events.failed.bind(events),
  });
  const ask = (id: number, frame: string): Promise<void> =>
    new Promise((resolve) => {
      waiting.set(id, resolve);
      socket.send(frame);
    });
  await ask(HELLO_ID, `{"op":"hello","id":${HELLO_ID}}`);
  return { socket, ask };
}
