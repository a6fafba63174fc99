// The JSON framing, first half: from the bytes of a frame to requests that may be carried out. The requests are requests.ts.

import { refuse } from "../../errors.ts";
import type { Broker } from "../../gateway/broker.ts";
import type { Connection, Protocol } from "../../gateway/connection.ts";
import type { Subscription } from "../../gateway/session.ts";
import { MAX_BATCH, MAX_FRAME_BYTES, MAX_PENDING_REQUESTS } from "../../limits.ts";
import type { DeliveryView } from "../../link/deliveries.ts";
import { quote } from "../../message/json.ts";
import { checkObject } from "../../schema.ts";
import { FRAMES } from "./frames.ts";
import { Handshake } from "./handshake.ts";
import { errorFrame, joinFrames, messageFrame } from "./render.ts";
import { Requests } from "./requests.ts";

/** Requests that other parts of the contract name and that this version does not serve. */
const NOT_SERVED = new Set(["commit", "request"]);
const encoder = new TextEncoder();

/** Closing codes of the contract. */
export const CLOSE = {
  badFrame: 4400,
  unauthenticated: 4401,
  forbidden: 4403,
  takenOver: 4409,
  tooLarge: 4413,
} as const;

/** `dunlin.v1.json`. */
export class JsonProtocol implements Protocol {
  readonly name = "dunlin.v1.json";
  readonly #handshake: Handshake;
  readonly #requests: Requests;

  constructor(broker: Broker) {
    this.#handshake = new Handshake(broker, (connection) => this.#resume(connection));
    this.#requests = new Requests(broker);
  }

  receive(connection: Connection, data: string | ArrayBuffer): void {
    if (typeof data !== "string") return connection.close(CLOSE.badFrame, "frames are text");
    if (byteLength(data) > MAX_FRAME_BYTES) {
      return connection.close(CLOSE.tooLarge, `a frame has at most ${MAX_FRAME_BYTES} bytes`);
    }
    let frame: unknown;
    try {
      frame = JSON.parse(data);
    } catch {
      return connection.close(CLOSE.badFrame, "a frame is JSON");
    }
    const requests = Array.isArray(frame) ? frame : [frame];
    if (requests.length > MAX_BATCH) {
      const text = `a frame has at most ${MAX_BATCH} objects, got ${requests.length}`;
      return connection.write(errorFrame(undefined, refuse("batch-too-large", text)));
    }
    if (connection.authenticating) this.#hold(connection, requests);
    else this.#run(connection, requests);
  }

  deliver(connection: Connection, subscription: Subscription, delivery: DeliveryView): void {
    if (isExpired(connection)) return this.#expired(connection);
    connection.write(messageFrame(subscription.sub, quote(`queue:${subscription.address.name}`), delivery));
  }

  gone(connection: Connection, subscription: Subscription, reason: string): void {
    connection.write(JSON.stringify({ op: "event", kind: "gone", sub: subscription.sub, reason }));
  }

  join(frames: string[]): string {
    return joinFrames(frames);
  }

  #run(connection: Connection, requests: unknown[]): void {
    for (const [index, request] of requests.entries()) {
      if (!connection.open) return;
      this.#runOne(connection, request);
      if (connection.authenticating) {
        this.#hold(connection, requests.slice(index + 1));
        return;
      }
    }
  }

  #runOne(connection: Connection, request: unknown): void {
    if (typeof request !== "object" || request === null || Array.isArray(request)) {
      return connection.write(
        errorFrame(undefined, refuse("bad-frame", "a frame is an object or an array of objects")),
      );
    }
    const { op, id } = request as { op?: unknown; id?: unknown };
    const knownId = typeof id === "number" && Number.isSafeInteger(id) && id >= 1 ? id : undefined;
    if (connection.session === undefined && op !== "hello") {
      connection.write(errorFrame(knownId, refuse("bad-state", "the first frame is hello")));
      return connection.close(CLOSE.badFrame, "the first frame is hello");
    }
    if (isExpired(connection) && op !== "auth") return this.#expired(connection);
    const spec = typeof op === "string" ? FRAMES.get(op) : undefined;
    if (spec === undefined) {
      const kind = NOT_SERVED.has(String(op)) ? "not-supported" : "unknown-op";
      return connection.write(
        errorFrame(knownId, refuse(kind, `op ${JSON.stringify(op) ?? "(none)"} is not served`)),
      );
    }
    const wrong = checkObject(spec, request, "");
    if (wrong !== undefined) {
      const kind = wrong.startsWith("to ") ? "bad-address" : "bad-field";
      return connection.write(errorFrame(knownId, refuse(kind, wrong)));
    }
    if (connection.waiting >= MAX_PENDING_REQUESTS) {
      const text = `${MAX_PENDING_REQUESTS} requests of this connection wait for an answer`;
      return connection.write(errorFrame(knownId, refuse("too-many", text, 1_000)));
    }
    if (op === "hello" || op === "auth") this.#handshake.run(connection, op, request);
    else this.#requests.run(connection, op as string, request);
  }

  #hold(connection: Connection, requests: unknown[]): void {
    connection.held.push(...requests);
    if (connection.held.length <= MAX_PENDING_REQUESTS) return;
    connection.held.length = 0;
    connection.close(4429, `at most ${MAX_PENDING_REQUESTS} requests wait for the welcome`);
  }

  /** Goes on with what arrived while the connection was being authenticated. */
  #resume(connection: Connection): void {
    this.#run(connection, connection.held.splice(0));
  }

  #expired(connection: Connection): void {
    connection.write(errorFrame(undefined, refuse("token-expired", "the token has expired")));
    connection.close(CLOSE.unauthenticated, "the token has expired");
  }
}

function isExpired(connection: Connection): boolean {
  const expiresAt = connection.session?.principal.expiresAt;
  return expiresAt !== undefined && expiresAt <= Date.now();
}

function byteLength(text: string): number {
  // A UTF-16 unit is at most three bytes of UTF-8, so most frames need not be measured.
  return text.length * 3 <= MAX_FRAME_BYTES ? text.length : encoder.encode(text).length;
}
