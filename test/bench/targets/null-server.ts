// A server that does the least a fan-out can: it lets MQTT clients in and writes publishers' frames, unread, to every subscriber,
// those of one turn of the event loop in one write. What the generator receives from it shows what the generator can count.
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";

const HANDSHAKE_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const CONNECT = 1;
const PUBLISH = 3;

interface Topic {
  subscribers: Set<Socket>;
  /** Frames of this turn. */
  due: Buffer[];
}

const topics = new Map<string, Topic>();
const server = createServer();
server.on("upgrade", (request, socket: Socket) => {
  const accept = createHash("sha1")
    .update(`${request.headers["sec-websocket-key"]}${HANDSHAKE_GUID}`)
    .digest("base64");
  socket.setNoDelay(true);
  socket.write(
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
      `Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
  );
  const path = request.url!;
  const topic = topics.get(path) ?? { subscribers: new Set(), due: [] };
  topics.set(path, topic);
  let rest: Buffer = Buffer.alloc(0);
  socket.on("data", (bytes: Buffer) => {
    rest = readFrames(rest.length === 0 ? bytes : Buffer.concat([rest, bytes]), (frame) =>
      onFrame(frame, socket, topic),
    );
  });
  socket.on("error", () => {});
  socket.on("close", () => topic.subscribers.delete(socket));
});
server.listen(0, "127.0.0.1", () => {
  console.log(`ready on http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});

function onFrame(frame: Buffer, socket: Socket, topic: Topic): void {
  const type = frame[0]! >> 4;
  if (type === PUBLISH) {
    if (topic.due.push(frameOf(frame)) === 1) setImmediate(() => fanOut(topic));
  } else if (type === CONNECT) socket.write(frameOf(Buffer.from([0x20, 2, 0, 0])));
  else {
    topic.subscribers.add(socket);
    // SUBACK: the packet id of the SUBSCRIBE, and QoS 0.
    socket.write(frameOf(Buffer.from([0x90, 3, frame[2]!, frame[3]!, 0])));
  }
}

function fanOut(topic: Topic): void {
  const out = Buffer.concat(topic.due);
  topic.due = [];
  for (const subscriber of topic.subscribers) subscriber.write(out);
}

function frameOf(payload: Buffer): Buffer {
  if (payload.length < 126) return Buffer.concat([Buffer.from([0x82, payload.length]), payload]);
  return Buffer.concat([Buffer.from([0x82, 126, payload.length >> 8, payload.length & 0xff]), payload]);
}

/** Hands on every whole frame, unmasked, and returns the rest. The generator sends none of 64 KiB or more. */
function readFrames(bytes: Buffer, on: (frame: Buffer) => void): Buffer {
  let at = 0;
  for (;;) {
    if (bytes.length - at < 8) return bytes.subarray(at);
    const short = bytes[at + 1]! & 0x7f;
    const maskAt = at + (short === 126 ? 4 : 2);
    const length = short === 126 ? bytes.readUInt16BE(at + 2) : short;
    const start = maskAt + 4;
    if (start + length > bytes.length) return bytes.subarray(at);
    const payload = Buffer.allocUnsafe(length);
    for (let i = 0; i < length; i++) payload[i] = bytes[start + i]! ^ bytes[maskAt + (i & 3)]!;
    on(payload);
    at = start + length;
  }
}
