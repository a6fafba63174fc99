// The yardstick: the payload to the echo and back, one frame per message, or (echo-batch) an array of what is due per frame.
import type { Job } from "./job.ts";
import { type FrameSocket, openSocket } from "./socket.ts";
import { type CycleEvents, forEverySlot, payloadOf, slotOf, type Wire } from "./wire.ts";

/** The echo as a cycle: the frame that comes back stands for the confirm, the delivery and the ack's confirm. */
export function echoWire(job: Job, events: CycleEvents): Wire {
  const payloads = forEverySlot(job, (slot) => payloadOf(job, slot));
  const sockets: FrameSocket[] = [];
  return {
    async open() {
      for (let producer = 0; producer < job.pairs; producer++) {
        const frame = (bytes: Buffer): void =>
          done(events, slotOf(bytes.toString("latin1", 0, 16)), producer);
        sockets.push(await openSocket(job.url, undefined, { frame, closed: events.failed.bind(events) }));
      }
    },
    publish(producer, slots) {
      sockets[producer]!.sendAll(slots.map((slot) => payloads[slot]!));
    },
    settle() {},
    close() {
      for (const socket of sockets) socket.close();
    },
  };
}

/** The echo with the frames of the JSON protocol's size and shape: the publishes of one turn in one array. */
export function echoBatchWire(job: Job, events: CycleEvents): Wire {
  const publishes = forEverySlot(
    job,
    (slot) => `{"op":"publish","id":${slot + 1},"to":"queue:${job.queue}","body":"${payloadOf(job, slot)}"}`,
  );
  const sockets: FrameSocket[] = [];
  return {
    async open() {
      for (let producer = 0; producer < job.pairs; producer++) {
        const frame = (bytes: Buffer): void => {
          const messages = JSON.parse(bytes.toString()) as { body: string }[];
          for (const message of messages) done(events, slotOf(message.body), producer);
        };
        sockets.push(await openSocket(job.url, undefined, { frame, closed: events.failed.bind(events) }));
      }
    },
    publish(producer, slots) {
      sockets[producer]!.send(`[${slots.map((slot) => publishes[slot]!).join(",")}]`);
    },
    settle() {},
    close() {
      for (const socket of sockets) socket.close();
    },
  };
}

function done(events: CycleEvents, slot: number, producer: number): void {
  events.confirmed(slot);
  events.delivered(slot, producer, 0);
  events.settled(slot);
}
