// A TCP port in front of MQTT over WebSocket, for clients that speak plain TCP: a pipe per connection that cuts and joins the bytes
// by a seed, so that packets arrive split over frames and several in one.
import { createServer, type Server, type Socket } from "node:net";
import { WebSocket } from "ws";
import { createRandom, type Random } from "./random.ts";

const LARGEST_PIECE = 40;

/** A running pipe. */
export interface TcpPipe {
  readonly port: number;
  /** Ends the port and every connection through it. */
  stop(): Promise<void>;
}

/**
 * Opens a port on loopback that leads to a WebSocket.
 *
 * @param url where the pipe leads, a `ws:` URL
 * @param seed determines where bytes are cut
 */
export async function openTcpPipe(url: string, seed: number): Promise<TcpPipe> {
  const random = createRandom(seed);
  const open = new Set<() => void>();
  const server: Server = createServer((tcp) => {
    const end = join(tcp, url, random);
    open.add(end);
    tcp.once("close", () => open.delete(end));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as { port: number }).port,
    async stop() {
      for (const end of open) end();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Connects one TCP socket with one WebSocket, and returns what ends both. */
function join(tcp: Socket, url: string, random: Random): () => void {
  const socket = new WebSocket(url, ["mqtt"], { perMessageDeflate: false });
  let waiting: Buffer[] = [];
  tcp.setNoDelay(true);
  const send = (data: Buffer) => {
    for (const piece of pieces(data, random)) socket.send(piece);
  };
  socket.on("open", () => {
    send(Buffer.concat(waiting));
    waiting = [];
  });
  tcp.on("data", (data) => {
    if (socket.readyState === WebSocket.OPEN) send(data);
    else waiting.push(data);
  });
  socket.on("message", (data: Buffer) => {
    for (const piece of pieces(data, random)) tcp.write(piece);
  });
  tcp.on("close", () => socket.terminate());
  tcp.on("error", () => socket.terminate());
  socket.on("error", () => tcp.destroy());
  socket.on("close", () => tcp.end());
  return () => {
    tcp.destroy();
    socket.terminate();
  };
}

/** Cuts bytes into pieces, or leaves them whole. */
function* pieces(data: Buffer, random: Random): Generator<Buffer> {
  const cuts = random.chance(0.7);
  while (data.length > 0) {
    const size = cuts ? random.integer(1, LARGEST_PIECE) : data.length;
    yield data.subarray(0, size);
    data = data.subarray(size);
  }
}
