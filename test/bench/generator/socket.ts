// A WebSocket client over a TCP socket that the caller can cork: many frames, one write.
import { connect, type Socket } from "node:net";
import { WebSocket } from "ws";

const OPEN_TIMEOUT_MS = 30_000;

/** An open WebSocket. */
export interface FrameSocket {
  send(frame: string | Buffer): void;
  /** Sends several frames in one write. */
  sendAll(frames: readonly string[]): void;
  close(): void;
}

/** What to do with what arrives. */
export interface FrameHandlers {
  /** One frame, text or binary, as bytes. */
  frame(bytes: Buffer): void;
  /** The socket closed although nobody here asked for it. */
  closed(reason: string): void;
}

/** Opens a WebSocket without compression. */
export function openSocket(
  url: string,
  protocol: string | undefined,
  on: FrameHandlers,
): Promise<FrameSocket> {
  return new Promise((resolve, reject) => {
    let tcp: Socket | undefined;
    let closing = false;
    const ws = new WebSocket(url, protocol === undefined ? [] : [protocol], {
      perMessageDeflate: false,
      skipUTF8Validation: true,
      handshakeTimeout: OPEN_TIMEOUT_MS,
      createConnection: () => {
        const { hostname, port } = new URL(url);
        tcp = connect({ host: hostname, port: Number(port), noDelay: true });
        return tcp;
      },
    });
    ws.on("message", on.frame);
    ws.on("error", (error) => reject(new Error(`${url}: ${error.message}`)));
    ws.on("close", (code, reason) => {
      if (!closing) on.closed(`${url} closed with ${code} ${reason.toString()}`);
    });
    ws.on("open", () =>
      resolve({
        send: (frame) => ws.send(frame),
        sendAll(frames) {
          tcp!.cork();
          for (const frame of frames) ws.send(frame);
          tcp!.uncork();
        },
        close() {
          closing = true;
          ws.terminate();
        },
      }),
    );
  });
}
