// STOMP 1.2 over WebSocket, as RabbitMQ's web_stomp plugin speaks it: persistent messages into a durable classic queue,
// a receipt for every SEND, client-individual acks with one receipt for the acks of a turn (RabbitMQ handles them in order).
import type { Job } from "./job.ts";
import { type FrameSocket, openSocket } from "./socket.ts";
import { type CycleEvents, forEverySlot, type Handle, payloadOf, slotOf, type Wire } from "./wire.ts";

const CONNECT = "CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\nheart-beat:0,0\n\n\0";
const SUBSCRIBED = "subscribed";

type OnFrame = (command: string, head: string, body: string) => void;

/** A producer and a consumer connection for each pair, on one queue. */
export function stompWire(job: Job, events: CycleEvents): Wire {
  const queue = `destination:/queue/${job.queue}\ndurable:true\nauto-delete:false\nx-queue-type:classic\n`;
  const sends = forEverySlot(
    job,
    (slot) =>
      `SEND\n${queue}persistent:true\nreceipt:${slot}\ncontent-length:${job.payloadBytes}\n\n${payloadOf(job, slot)}\0`,
  );
  const subscribe = `SUBSCRIBE\n${queue}id:1\nack:client-individual\nprefetch-count:${job.window}\nreceipt:${SUBSCRIBED}\n\n\0`;
  const producers: FrameSocket[] = [];
  const consumers: FrameSocket[] = [];
  const settling = new Map<string, readonly number[]>();
  let settleId = 1;

  const onProducer: OnFrame = (command, head) => {
    if (command === "RECEIPT") events.confirmed(Number(header(head, "receipt-id")));
    else events.failed(`a producer got ${command} ${head}`);
  };
  const onConsumer =
    (consumer: number): OnFrame =>
    (command, head, body) => {
      if (command === "MESSAGE") events.delivered(slotOf(body), consumer, header(head, "ack"));
      else if (command === "RECEIPT") {
        const id = header(head, "receipt-id");
        for (const slot of settling.get(id)!) events.settled(slot);
        settling.delete(id);
      } else events.failed(`a consumer got ${command} ${head}`);
    };

  return {
    async open() {
      for (let pair = 0; pair < job.pairs; pair++) {
        consumers.push(await openStomp(job.url, onConsumer(pair), events, subscribe));
        producers.push(await openStomp(job.url, onProducer, events));
      }
    },
    publish(producer, slots) {
      producers[producer]!.send(slots.map((slot) => sends[slot]!).join(""));
    },
    settle(consumer, handles, slots) {
      const id = String(settleId++);
      settling.set(id, slots);
      consumers[consumer]!.send(ackFrames(handles, id));
    },
    close() {
      for (const socket of [...producers, ...consumers]) socket.close();
    },
  };
}

function ackFrames(handles: readonly Handle[], receipt: string): string {
  const last = handles.length - 1;
  return handles.map((id, i) => `ACK\nid:${id}\n${i === last ? `receipt:${receipt}\n` : ""}\n\0`).join("");
}

/** The value of a header; `head` begins with the newline after the command. */
function header(head: string, name: string): string {
  const at = head.indexOf(`\n${name}:`);
  if (at < 0) return "";
  const from = at + name.length + 2;
  const end = head.indexOf("\n", from);
  return head.slice(from, end < 0 ? undefined : end);
}

/** Connects, and subscribes when told to; resolves once that is answered. */
async function openStomp(
  url: string,
  on: OnFrame,
  events: CycleEvents,
  subscribe?: string,
): Promise<FrameSocket> {
  let rest = "";
  let ready = (): void => {};
  const answered = new Promise<void>((resolve) => {
    ready = resolve;
  });
  const handle: OnFrame = (command, head, body) => {
    if (command === "CONNECTED") {
      if (subscribe === undefined) ready();
      else socket.send(subscribe);
    } else if (command === "RECEIPT" && header(head, "receipt-id") === SUBSCRIBED) ready();
    else on(command, head, body);
  };
  const socket = await openSocket(url, "v12.stomp", {
    frame(bytes) {
      const frames = (rest + bytes.toString("latin1")).split("\0");
      rest = frames.pop()!;
      for (const frame of frames) {
        const text = frame.trimStart();
        const bodyAt = text.indexOf("\n\n");
        const commandEnd = text.indexOf("\n");
        handle(text.slice(0, commandEnd), text.slice(commandEnd, bodyAt), text.slice(bodyAt + 2));
      }
      if (rest.trim() === "") rest = "";
    },
    closed: events.failed.bind(events),
  });
  socket.send(CONNECT);
  await answered;
  return socket;
}
