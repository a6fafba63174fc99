// The generator's MQTT client: connects, subscribes, and hands on what a job looks at. For the echo it is a bare socket, whose
// PUBLISH packets come back as they were sent.
import type { MqttJob } from "./mqtt-job.ts";
import { CONNACK, connectPacket, PUBLISH, SUBACK, subscribePacket } from "./mqtt-packets.ts";
import { MqttSocket } from "./mqtt-socket.ts";

const SUBSCRIBE_ID = 1;
const OPENING_AT_ONCE = 50;
const REFUSED = 0x80;

/** What a job is told of one connection. */
export interface ClientHandlers {
  /** A PUBLISH of the job's payload size, whose payload begins at `payloadAt`. */
  published?(bytes: Buffer, payloadAt: number, first: number): void;
  /** An acknowledgement of the given type. */
  acknowledged?(type: number, id: number): void;
  /** Everything that one read brought was handed on. */
  readDone?(): void;
  failed(reason: string): void;
}

/** Connects, and subscribes where a QoS is given; resolves once the broker answered. */
export async function openClient(
  job: MqttJob,
  name: string,
  on: ClientHandlers,
  subscribeQos?: number,
): Promise<MqttSocket> {
  let answered: () => void = () => {};
  const answer = (): Promise<void> =>
    new Promise((resolve) => {
      answered = resolve;
    });
  const { payloadBytes } = job;
  const socket = await MqttSocket.open(job.url, job.wire === "echo" ? undefined : "mqtt", {
    packet(first, bytes, start, end) {
      const type = first >> 4;
      if (type === PUBLISH) on.published?.(bytes, end - payloadBytes, first);
      else if (type === CONNACK) {
        if (bytes[start + 1] !== 0) on.failed(`${name} was refused with code ${bytes[start + 1]}`);
        answered();
      } else if (type === SUBACK) {
        if (bytes[end - 1]! >= REFUSED) on.failed(`the subscription of ${name} was refused`);
        answered();
      } else on.acknowledged?.(type, bytes.readUInt16BE(start));
    },
    readDone: on.readDone,
    closed: on.failed,
  });
  if (job.wire === "echo") return socket;
  const connected = answer();
  socket.send(connectPacket(name));
  await connected;
  if (subscribeQos === undefined) return socket;
  const subscribed = answer();
  socket.send(subscribePacket(SUBSCRIBE_ID, job.topic, subscribeQos));
  await subscribed;
  return socket;
}

/** Opens many, some at a time, in order. */
export async function openMany(
  count: number,
  open: (number: number) => Promise<MqttSocket>,
): Promise<MqttSocket[]> {
  const sockets: MqttSocket[] = [];
  for (let first = 0; first < count; first += OPENING_AT_ONCE) {
    const some = Math.min(OPENING_AT_ONCE, count - first);
    sockets.push(...(await Promise.all(Array.from({ length: some }, (_, i) => open(first + i)))));
  }
  return sockets;
}
