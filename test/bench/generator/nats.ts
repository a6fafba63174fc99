// The NATS protocol over WebSocket with JetStream: a work-queue stream on file storage, one durable push consumer whose
// members share it, a publish ack for every message and a double ack (an ack that is answered) for every delivery.
import type { Job } from "./job.ts";
import { type FrameSocket, openSocket } from "./socket.ts";
import { type CycleEvents, forEverySlot, type Handle, payloadOf, slotOf, type Wire } from "./wire.ts";

const CONNECT = `CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"protocol":1,"echo":true}\r\n`;
const ACK_WAIT_NS = 30_000_000_000;
const LINE_END = "\r\n";

type OnMessage = (subject: string, reply: string, payload: string) => void;

/** A producer and a consumer connection for each pair, on one stream. */
export function natsWire(job: Job, events: CycleEvents): Wire {
  const subject = `bench.${job.queue}`;
  const publishes = forEverySlot(job, (slot) => {
    const inbox = `_INBOX.p${Math.floor(slot / job.window)}.${slot}`;
    return `PUB ${subject} ${inbox} ${job.payloadBytes}\r\n${payloadOf(job, slot)}\r\n`;
  });
  const producers: FrameSocket[] = [];
  const consumers: FrameSocket[] = [];

  const onProducer: OnMessage = (inbox, _reply, payload) => {
    if (payload.includes('"error"')) events.failed(`a publish was answered ${payload}`);
    else events.confirmed(slotOfInbox(inbox));
  };
  const onConsumer =
    (consumer: number): OnMessage =>
    (to, reply, payload) => {
      if (to.startsWith("_INBOX.")) events.settled(slotOfInbox(to));
      else events.delivered(slotOf(payload), consumer, reply);
    };

  return {
    async open() {
      await declare(job, subject, events);
      for (let pair = 0; pair < job.pairs; pair++) {
        const consumer = await openNats(job.url, onConsumer(pair), events);
        await consumer.flushed(`SUB deliver.${job.queue} members 1\r\nSUB _INBOX.c${pair}.* 2\r\n`);
        consumers.push(consumer.socket);
        const producer = await openNats(job.url, onProducer, events);
        await producer.flushed(`SUB _INBOX.p${pair}.* 1\r\n`);
        producers.push(producer.socket);
      }
    },
    publish(producer, slots) {
      producers[producer]!.send(Buffer.from(slots.map((slot) => publishes[slot]!).join(""), "latin1"));
    },
    settle(consumer, handles: readonly Handle[], slots) {
      const acks = handles.map((to, i) => `PUB ${to} _INBOX.c${consumer}.${slots[i]} 4\r\n+ACK\r\n`);
      consumers[consumer]!.send(Buffer.from(acks.join(""), "latin1"));
    },
    close() {
      for (const socket of [...producers, ...consumers]) socket.close();
    },
  };
}

function slotOfInbox(subject: string): number {
  return Number(subject.slice(subject.lastIndexOf(".") + 1));
}

/** Creates the stream and its consumer. */
async function declare(job: Job, subject: string, events: CycleEvents): Promise<void> {
  let answer: (payload: string) => void = () => {};
  const { socket, flushed } = await openNats(job.url, (_subject, _reply, payload) => answer(payload), events);
  await flushed("SUB _INBOX.setup 1\r\n");
  const ask = (api: string, request: unknown): Promise<void> =>
    new Promise((resolve, reject) => {
      answer = (payload) =>
        payload.includes('"error"') ? reject(new Error(`${api} was answered ${payload}`)) : resolve();
      const body = JSON.stringify(request);
      socket.send(Buffer.from(`PUB $JS.API.${api} _INBOX.setup ${body.length}\r\n${body}\r\n`));
    });
  await ask(`STREAM.CREATE.${job.queue}`, {
    name: job.queue,
    subjects: [subject],
    retention: "workqueue",
    storage: "file",
    discard: "old",
    num_replicas: 1,
  });
  await ask(`CONSUMER.DURABLE.CREATE.${job.queue}.members`, {
    stream_name: job.queue,
    config: {
      durable_name: "members",
      deliver_subject: `deliver.${job.queue}`,
      deliver_group: "members",
      deliver_policy: "all",
      ack_policy: "explicit",
      ack_wait: ACK_WAIT_NS,
      max_ack_pending: job.window * job.pairs,
      replay_policy: "instant",
    },
  });
  socket.close();
}

/** Connects; `flushed` sends operations and waits until the server has handled them. */
async function openNats(url: string, on: OnMessage, events: CycleEvents) {
  let onPong = (): void => {};
  const parse = parser({
    message: on,
    pong: () => onPong(),
    ping: () => socket.send(Buffer.from("PONG\r\n")),
    refused: (line) => events.failed(`nats answered ${line}`),
  });
  const socket = await openSocket(url, undefined, {
    frame: (bytes) => parse(bytes.toString("latin1")),
    closed: events.failed.bind(events),
  });
  const flushed = (operations: string): Promise<void> =>
    new Promise((resolve) => {
      onPong = resolve;
      socket.send(Buffer.from(`${operations}PING\r\n`));
    });
  await flushed(CONNECT);
  return { socket, flushed };
}

interface Operations {
  message: OnMessage;
  pong(): void;
  ping(): void;
  refused(line: string): void;
}

/** A parser for the server's operations, which may be split between frames anywhere. */
function parser(on: Operations): (text: string) => void {
  let rest = "";
  return (text) => {
    const input = rest + text;
    let at = 0;
    for (;;) {
      const lineEnd = input.indexOf(LINE_END, at);
      if (lineEnd < 0) break;
      const next = lineEnd + LINE_END.length;
      const line = input.slice(at, lineEnd);
      if (!line.startsWith("MSG ") && !line.startsWith("HMSG ")) {
        if (line === "PING") on.ping();
        else if (line === "PONG") on.pong();
        else if (line.startsWith("-ERR")) on.refused(line);
        at = next;
        continue;
      }
      const words = line.split(" ");
      const end = next + Number(words.at(-1));
      if (input.length < end + LINE_END.length) break;
      // MSG subject sid [reply] bytes; HMSG has the headers' length before the total.
      const headed = words[0] === "HMSG";
      const reply = words.length === (headed ? 6 : 5) ? words[3]! : "";
      on.message(words[1]!, reply, input.slice(headed ? next + Number(words.at(-2)) : next, end));
      at = end + LINE_END.length;
    }
    rest = input.slice(at);
  };
}
