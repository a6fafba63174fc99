// A socket whose client is known only by its first frame: the Worker reads it, finds the client's gateway, and from then on passes
// frames on in both directions. Needed only with several gateways and no `?client=` in the URL.
import { HELLO_TIMEOUT_MS, MAX_FRAME_BYTES } from "../limits.ts";
import { PacketReader } from "../protocol/mqtt/codec/reader.ts";

/** Opens a socket to the gateway of a client. */
type Open = (client: string) => Promise<Response>;
type Frame = string | ArrayBuffer;

/** Bytes that arrive before the gateway's socket is open at most. */
const MAX_WAITING = MAX_FRAME_BYTES * 2;
const TOO_LARGE = 4413;
const FAILED = 4000;
const SILENT_CLIENT = 4408;
/** Closing codes that may not be sent. */
const SILENT = new Set([1005, 1006, 1015]);

/** Accepts a socket and relays it. */
export function relay(protocol: string, open: Open): Response {
  const { 0: client, 1: server } = new WebSocketPair();
  server.binaryType = "arraybuffer";
  server.accept();
  const clientOf = protocol.startsWith("mqtt") ? mqttClient() : jsonClient;
  let gateway: WebSocket | undefined;
  let opening = false;
  const waiting: Frame[] = [];
  let bytes = 0;
  const timer = setTimeout(() => {
    if (!opening) server.close(SILENT_CLIENT, "no first frame in time");
  }, HELLO_TIMEOUT_MS);
  const connect = async (id: string) => {
    const socket = (await open(id)).webSocket;
    if (socket === null) return server.close(FAILED, "the gateway could not be reached");
    socket.binaryType = "arraybuffer";
    socket.accept();
    gateway = socket;
    pass(socket, server);
    for (const frame of waiting.splice(0)) socket.send(frame);
    if (server.readyState !== WebSocket.OPEN) socket.close();
  };
  server.addEventListener("message", ({ data }: { data: Frame }) => {
    if (server.readyState !== WebSocket.OPEN) return;
    if (gateway !== undefined) {
      if (gateway.readyState === WebSocket.OPEN) gateway.send(data);
      return;
    }
    waiting.push(data);
    bytes += typeof data === "string" ? data.length : data.byteLength;
    if (bytes > MAX_WAITING) return server.close(TOO_LARGE, "too much before the handshake's end");
    if (opening) return;
    const id = clientOf(data);
    if (id === undefined) return;
    opening = true;
    clearTimeout(timer);
    connect(id).catch(() => server.close(FAILED, "the gateway could not be reached"));
  });
  server.addEventListener("close", ({ code, reason }) => {
    clearTimeout(timer);
    end(gateway, code, reason);
  });
  server.addEventListener("error", () => {
    clearTimeout(timer);
    end(gateway, 1011, "");
  });
  return new Response(null, {
    status: 101,
    webSocket: client,
    headers: { "sec-websocket-protocol": protocol },
  });
}

function pass(from: WebSocket, to: WebSocket): void {
  from.addEventListener("message", ({ data }: { data: Frame }) => {
    if (to.readyState === WebSocket.OPEN) to.send(data);
  });
  from.addEventListener("close", ({ code, reason }) => end(to, code, reason));
  from.addEventListener("error", () => end(to, 1011, ""));
}

function end(socket: WebSocket | undefined, code: number, reason: string): void {
  if (socket?.readyState !== WebSocket.OPEN) return;
  if (SILENT.has(code)) socket.close();
  else socket.close(code, reason);
}

/** The client of a `hello`; any gateway will do for one without a name, or for a frame that is none. */
function jsonClient(data: Frame): string {
  try {
    const frame = JSON.parse(String(data)) as unknown;
    const hello = (Array.isArray(frame) ? frame[0] : frame) as { client?: unknown } | null;
    if (typeof hello?.client === "string") return hello.client;
  } catch {
    // The gateway says what is wrong with it.
  }
  return crypto.randomUUID();
}

/** The client of a CONNECT, which may come in pieces. */
function mqttClient(): (data: Frame) => string | undefined {
  const reader = new PacketReader({ maxPacketBytes: MAX_FRAME_BYTES });
  return (data) => {
    if (typeof data === "string") return crypto.randomUUID();
    reader.push(new Uint8Array(data));
    const packet = reader.next();
    if (packet === undefined) return undefined;
    return packet.type === "connect" && packet.clientId !== "" ? packet.clientId : crypto.randomUUID();
  };
}
