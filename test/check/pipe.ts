// A port in front of the broker that does to connections what networks do: bytes come late and in pieces, connections are cut.
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import type { Random } from "../support/random.ts";

/** How bytes travel. */
export interface Weather {
  /** Largest delay of one piece, ms. */
  delayMs: number;
  /** How often a delay is a stall ten times as long, from 0 to 1. */
  stalled: number;
}

/** A port that leads to the broker. */
export interface Pipe {
  readonly port: number;
  /** Ends every connection through it, without a word of the protocols above. Returns how many there were. */
  cut(): number;
  close(): Promise<void>;
}

const LARGEST_PIECE = 700;

/** Opens a port on loopback that leads to the broker's. */
export async function openPipe(brokerPort: number, weather: Weather, random: Random): Promise<Pipe> {
  const nears = new Set<Socket>();
  const server = createServer((near) => {
    nears.add(near);
    near.setNoDelay(true);
    const far = connect(brokerPort, "127.0.0.1");
    far.setNoDelay(true);
    const end = () => {
      near.destroy();
      far.destroy();
      nears.delete(near);
    };
    for (const socket of [near, far]) socket.on("error", end).on("close", end);
    carry(near, far, weather, random);
    carry(far, near, weather, random);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    cut() {
      const count = nears.size;
      for (const near of [...nears]) near.resetAndDestroy();
      return count;
    },
    async close() {
      for (const near of [...nears]) near.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Carries bytes one way, in order, each piece at its time. */
function carry(from: Socket, to: Socket, { delayMs, stalled }: Weather, random: Random): void {
  const queue: { data: Buffer; dueMs: number }[] = [];
  let isWaiting = false;
  const wait = (ms: number) => {
    if (isWaiting) return;
    isWaiting = true;
    setTimeout(send, ms);
  };
  const send = () => {
    isWaiting = false;
    const nowMs = performance.now();
    while (queue.length > 0 && queue[0]!.dueMs <= nowMs) to.write(queue.shift()!.data);
    if (queue.length > 0) wait(queue[0]!.dueMs - nowMs);
  };
  from.on("data", (data) => {
    // Most pass at once: a timer for each would cost more than the broker.
    if (queue.length === 0 && !random.chance(0.2)) {
      to.write(data);
      return;
    }
    const delay = random.integer(1, delayMs) * (random.chance(stalled) ? 10 : 1);
    const dueMs = Math.max(queue.at(-1)?.dueMs ?? 0, performance.now() + delay);
    const at =
      data.length > 1 && random.chance(0.3)
        ? random.integer(1, Math.min(data.length - 1, LARGEST_PIECE))
        : data.length;
    queue.push({ data: data.subarray(0, at), dueMs });
    if (at < data.length) queue.push({ data: data.subarray(at), dueMs: dueMs + 1 });
    wait(delay);
  });
}
