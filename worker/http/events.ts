// GET /v1/events: the messages of topics as Server-Sent Events. Each stream is a subscriber of a gateway like any other, over a
// socket that this Worker opens in the reader's name.
import { permits } from "../auth/permission.ts";
import { type ErrorKind, isRefusal, type Refusal, refuse } from "../errors.ts";
import { checkFilter, isExact, SHARE_PREFIX } from "../filter/filter.ts";
import { gatewayCount, gatewayName } from "../gateway/placement.ts";
import { MAX_CREDIT, MAX_EVENT_BACKLOG_BYTES } from "../limits.ts";
import { checkFilterField } from "../selector/selector.ts";
import type { From } from "../topic/rpc.ts";
import { reach } from "./answer.ts";
import type { Call } from "./call.ts";
import { eventOf, type Frame, framesOf, HEARTBEAT, openingEvent } from "./event-text.ts";
import { parseEventId, parseFrom } from "./from.ts";
import { setTrusted } from "./handshake.ts";
import { JSON_PROTOCOL } from "./socket.ts";

const HEARTBEAT_MS = 25_000;
const HELLO_ID = 1;
const SUBSCRIBE_ID = 2;
const SUB = 1;
/** Messages that were handed on before the gateway is told that it may send as many more. */
const CREDIT_STEP = MAX_CREDIT / 10;
const HEADERS = {
  "content-type": "text/event-stream",
  "cache-control": "no-store",
  "x-accel-buffering": "no",
};

/** What a reader asks for. */
interface Wish {
  filter: string;
  /** Which of their messages, "" for all. */
  selector: string;
  from: From;
  /** The reader was here before, and what it had cannot be told from the id: something may be missing. */
  incomplete: boolean;
}

/** Opens a stream of events. */
export async function openEvents(call: Call): Promise<Response | Refusal> {
  const wish = wishOf(call);
  if (isRefusal(wish)) return wish;
  const refusal = permits(call.principal, "subscribe", `topic:${wish.filter}`);
  if (refusal) return refusal;
  if (call.request.method === "HEAD") return new Response(null, { headers: HEADERS });
  const socket = await gatewaySocket(call);
  if (isRefusal(socket)) return socket;
  const feed = new EventFeed(socket, wish);
  const refused = await feed.opened;
  return refused ?? new Response(feed.stream, { headers: HEADERS });
}

function wishOf({ request, url }: Call): Wish | Refusal {
  const filter = url.searchParams.get("topic");
  if (filter === null) return refuse("bad-field", "topic is required: /v1/events?topic=FILTER");
  if (filter.startsWith(SHARE_PREFIX)) {
    return refuse("bad-address", "a shared subscription is a queue's business: receive from it");
  }
  const wrong = checkFilter(filter);
  if (wrong) return wrong;
  const selector = checkFilterField(url.searchParams.get("filter") ?? undefined);
  if (isRefusal(selector)) return selector;
  const id = request.headers.get("last-event-id") ?? url.searchParams.get("lastEventId") ?? "";
  if (id === "") {
    const from = parseFrom(url.searchParams.get("from") ?? "new");
    return isRefusal(from) ? from : { filter, selector, from, incomplete: false };
  }
  const place = parseEventId(id);
  if (place === undefined) {
    return refuse("bad-field", `Last-Event-ID must be EPOCH:SEQ, got ${JSON.stringify(id.slice(0, 60))}`);
  }
  // The id is a place in one topic: of the others that a wildcard matches it says nothing.
  return isExact(filter)
    ? { filter, selector, from: place, incomplete: false }
    : { filter, selector, from: "new", incomplete: true };
}

async function gatewaySocket({
  env,
  request,
  url,
  principal,
  namespace,
}: Call): Promise<WebSocket | Refusal> {
  const headers = new Headers({ upgrade: "websocket", "sec-websocket-protocol": JSON_PROTOCOL });
  const origin = request.headers.get("origin");
  if (origin !== null) headers.set("origin", origin);
  setTrusted(headers, principal, namespace);
  const client = crypto.randomUUID();
  const gateway = env.GATEWAY.getByName(gatewayName(client, gatewayCount(env.GATEWAYS)));
  const address = new URL("/ws", url);
  address.searchParams.set("client", client);
  const answer = await reach(gateway.fetch(new Request(address, { headers })));
  if (isRefusal(answer)) return answer;
  const { webSocket } = answer;
  if (!webSocket) return refuse("unavailable", "the gateway took no socket: try again");
  webSocket.accept();
  const hello = { op: "hello", id: HELLO_ID, client };
  webSocket.send(JSON.stringify(hello));
  return webSocket;
}

/** One reader's stream, fed by a socket. */
class EventFeed {
  /** Resolves once the subscription is effective, or with the reason why it is not. */
  readonly opened: Promise<Refusal | undefined>;
  readonly stream: ReadableStream<Uint8Array>;
  readonly #socket: WebSocket;
  readonly #wish: Wish;
  readonly #encoder = new TextEncoder();
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  #answer!: (refusal: Refusal | undefined) => void;
  #heartbeat: ReturnType<typeof setInterval> | undefined;
  /** Messages handed on that the gateway was not told of. */
  #owed = 0;
  #ended = false;

  constructor(socket: WebSocket, wish: Wish) {
    this.#socket = socket;
    this.#wish = wish;
    this.opened = new Promise((resolve) => {
      this.#answer = resolve;
    });
    this.stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: () => this.#giveCredit(),
        cancel: () => this.#end(),
      },
      { highWaterMark: MAX_EVENT_BACKLOG_BYTES, size: (chunk) => chunk.length },
    );
    socket.addEventListener("message", ({ data }) => this.#receive(data as string));
    socket.addEventListener("close", ({ reason }) => this.#lost(reason));
    socket.addEventListener("error", () => this.#lost(""));
    const { filter, selector, from } = wish;
    const subscribe = {
      op: "subscribe",
      id: SUBSCRIBE_ID,
      sub: SUB,
      to: `topic:${filter}`,
      filter: selector,
      from,
      credit: MAX_CREDIT,
    };
    socket.send(JSON.stringify(subscribe));
  }

  #receive(text: string): void {
    let events = "";
    for (const frame of framesOf(text)) {
      if (frame.op === "error") return this.#refused(frame);
      if (frame.op === "ok" && frame.id === SUBSCRIBE_ID) events += this.#open(frame);
      else events += eventOf(frame) ?? "";
      if (frame.op === "message") this.#owed += 1;
      if (frame.op === "event" && frame.kind === "gone") {
        this.#write(events);
        return this.#end();
      }
    }
    this.#write(events);
    this.#giveCredit();
  }

  #open(ok: Frame): string {
    const { filter, from, incomplete } = this.#wish;
    this.#heartbeat = setInterval(() => this.#write(HEARTBEAT), HEARTBEAT_MS);
    this.#answer(undefined);
    const recovered = ok.recovered === true && !incomplete;
    return openingEvent({ ...ok, recovered }, from === "new" && isExact(filter));
  }

  #write(text: string): void {
    if (this.#ended || text === "") return;
    const full = (this.#controller.desiredSize ?? 0) <= 0;
    // The reader comes again with the last id that it read, and gets what retention kept.
    if (full) return this.#end();
    this.#controller.enqueue(this.#encoder.encode(text));
  }

  #giveCredit(): void {
    if (this.#ended || this.#owed < CREDIT_STEP) return;
    this.#socket.send(JSON.stringify({ op: "credit", sub: SUB, add: this.#owed }));
    this.#owed = 0;
  }

  #refused({ kind, message, afterMs }: Frame): void {
    this.#answer(refuse(kind as ErrorKind, String(message), afterMs as number | undefined));
    this.#end();
  }

  #lost(reason: string): void {
    this.#answer(refuse("unavailable", reason || "the gateway ended the connection: try again"));
    this.#end();
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#heartbeat !== undefined) clearInterval(this.#heartbeat);
    try {
      this.#controller.close();
    } catch {
      // The reader has gone, and the stream with it.
    }
    try {
      this.#socket.close(1000, "the reader has gone");
    } catch {
      // The gateway closed it already.
    }
  }
}
