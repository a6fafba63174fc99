// The JSON framing, first half: from the bytes of a frame to requests that may be carried out. The requests are requests.ts.

import { groupOf } from "../../address.ts";
import { type Refusal, refuse } from "../../errors.ts";
import type { Broker } from "../../gateway/broker.ts";
import type { Chunk, Connection, Protocol } from "../../gateway/connection.ts";
import type { TopicRun } from "../../gateway/fanout.ts";
import type { Requester } from "../../gateway/requester.ts";
import type { QueueSubscription, Subscription, TopicSubscription } from "../../gateway/session.ts";
import { MAX_BATCH, MAX_FRAME_BYTES, MAX_PENDING_REQUESTS } from "../../limits.ts";
import type { DeliveryView } from "../../link/deliveries.ts";
import { formatHandle } from "../../link/handle.ts";
import { quote } from "../../message/json.ts";
import { checkObject } from "../../schema.ts";
import { type Answer, Answers } from "./answers.ts";
import { CLOSE } from "./close.ts";
import { FRAMES } from "./frames.ts";
import { Handshake } from "./handshake.ts";
import { errorFrame, joinFrames, messageFrame } from "./render.ts";
import { Requests } from "./requests.ts";
import { JsonTopics } from "./topics.ts";

const encoder = new TextEncoder();

/** `dunlin.v1.json`. */
export class JsonProtocol implements Protocol {
  readonly names = ["dunlin.v1.json"] as const;
  readonly nextDeadline = Number.POSITIVE_INFINITY;
  readonly #handshake: Handshake;
  readonly #topics: JsonTopics;
  readonly #requests: Requests;

  readonly #requester: Requester;

  constructor(broker: Broker) {
    this.#requester = broker.requester;
    this.#topics = new JsonTopics(broker);
    this.#handshake = new Handshake(broker, this.#topics, (connection) => this.#goOn(connection));
    this.#requests = new Requests(broker, this.#topics);
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
    const requests: unknown[] = Array.isArray(frame) ? frame : [frame];
    const refusal = checkCount(connection, requests.length);
    if (refusal !== undefined) return connection.write(errorFrame(undefined, refusal));
    const answers = new Answers(connection, requests.length);
    for (const [index, request] of requests.entries()) this.#take(connection, request, answers.at(index));
  }

  deliver(connection: Connection, subscription: QueueSubscription, delivery: DeliveryView): void {
    if (isExpired(connection)) return this.expired(connection);
    const { name } = subscription.address;
    // A durable subscription is to topics: its queue is not the subscriber's business.
    const to = groupOf(name) === undefined ? `queue:${name}` : `topic:${delivery.message.topic}`;
    connection.write(messageFrame(subscription.sub, quote(to), delivery));
  }

  notice(connection: Connection, { sub }: QueueSubscription, { kind, position, lease }: DeliveryView): void {
    const event =
      kind === "settled"
        ? { op: "event", kind, sub, deliveries: [formatHandle(position, lease)] }
        : { op: "event", kind: "active", sub, active: kind === "active" };
    connection.write(JSON.stringify(event));
  }

  fanout(run: TopicRun): void {
    for (const { session } of run.matches) {
      if (session.connection !== undefined && isExpired(session.connection)) this.expired(session.connection);
    }
    this.#topics.fanout(run);
  }

  replay(subscription: TopicSubscription, records: Uint8Array, retained: number): Promise<void> {
    return this.#topics.replay(subscription, records, retained);
  }

  lag(subscription: TopicSubscription, skipped: number): void {
    this.#topics.lag(subscription, skipped);
  }

  gone(connection: Connection, subscription: Subscription, reason: string): void {
    connection.write(JSON.stringify({ op: "event", kind: "gone", sub: subscription.sub, reason }));
  }

  expiring(connection: Connection, expiresAt: number): void {
    connection.write(JSON.stringify({ op: "event", kind: "expiring", expiresAt }));
  }

  expired(connection: Connection): void {
    connection.write(errorFrame(undefined, refuse("token-expired", "the token has expired")));
    connection.close(CLOSE.unauthenticated, "the token has expired");
  }

  takenOver(connection: Connection): void {
    connection.close(CLOSE.takenOver, "taken over by a newer connection of the same client");
  }

  unannounced(connection: Connection): void {
    connection.close(CLOSE.noHello, "no hello in time");
  }

  /** A message of a topic or a queue that finds no connection is told as missing, or comes again; a reply is for this connection. */
  closed({ id }: Connection): void {
    this.#requester.leave(id);
  }

  ended(): void {}

  run(): void {}

  save(): undefined {
    return undefined;
  }

  restore(): void {}

  join(chunks: Chunk[]): string {
    return joinFrames(chunks as string[]);
  }

  /** Runs a request, or holds it while the connection is being authenticated: what comes after a hello runs after it. */
  #take(connection: Connection, request: unknown, answer: Answer): void {
    if (connection.authenticating) connection.held.push(() => this.#run(connection, request, answer));
    else this.#run(connection, request, answer);
  }

  #goOn(connection: Connection): void {
    while (!connection.authenticating) {
      const run = connection.held.shift();
      if (run === undefined) return;
      run();
    }
  }

  #run(connection: Connection, request: unknown, answer: Answer): void {
    if (connection.ended) return answer(undefined);
    if (typeof request !== "object" || request === null || Array.isArray(request)) {
      return answer(
        errorFrame(undefined, refuse("bad-frame", "a frame is an object or an array of objects")),
      );
    }
    const { op, id } = request as { op?: unknown; id?: unknown };
    const knownId = typeof id === "number" && Number.isSafeInteger(id) && id >= 1 ? id : undefined;
    if (connection.session === undefined && op !== "hello") {
      answer(errorFrame(knownId, refuse("bad-state", "the first frame is hello")));
      return connection.close(CLOSE.badFrame, "the first frame is hello");
    }
    if (isExpired(connection) && op !== "auth") {
      answer(errorFrame(knownId, refuse("token-expired", "the token has expired")));
      return connection.close(CLOSE.unauthenticated, "the token has expired");
    }
    const refusal = checkRequest(op, request);
    if (refusal !== undefined) answer(errorFrame(knownId, refusal));
    else if (op === "hello" || op === "auth") this.#handshake.run(connection, op, request, answer);
    else this.#requests.run(connection, op as string, request, answer);
  }
}

function checkCount(connection: Connection, count: number): Refusal | undefined {
  if (count > MAX_BATCH)
    return refuse("batch-too-large", `a frame has at most ${MAX_BATCH} objects, got ${count}`);
  if (connection.waiting + count <= MAX_PENDING_REQUESTS) return undefined;
  return refuse("too-many", `${MAX_PENDING_REQUESTS} requests of this connection wait for an answer`, 1_000);
}

function checkRequest(op: unknown, request: object): Refusal | undefined {
  const spec = typeof op === "string" ? FRAMES.get(op) : undefined;
  if (spec === undefined) {
    return refuse("unknown-op", `op ${JSON.stringify(op) ?? "(none)"} is not served`);
  }
  const wrong = checkObject(spec, request, "");
  if (wrong === undefined) return undefined;
  return refuse(wrong.startsWith("to ") ? "bad-address" : "bad-field", wrong);
}

function isExpired(connection: Connection): boolean {
  const expiresAt = connection.session?.principal.expiresAt;
  return expiresAt !== undefined && expiresAt <= Date.now();
}

function byteLength(text: string): number {
  // A UTF-16 unit is at most three bytes of UTF-8, so most frames need not be measured.
  return text.length * 3 <= MAX_FRAME_BYTES ? text.length : encoder.encode(text).length;
}
