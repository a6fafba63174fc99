// The shell of a gateway: hibernating sockets, attachments, the alarm, calls from queues and Topic objects. What frames mean is the
// protocols' business (protocol/), what sessions do is sessions.ts's.
import { DurableObject } from "cloudflare:workers";
import type { Principal } from "../auth/principal.ts";
import type { Env } from "../env.ts";
import { isRefusal, type Refusal } from "../errors.ts";
import { HELLO_TIMEOUT_MS, MAX_FRAME_BYTES } from "../limits.ts";
import { DurableSql } from "../log/sql.ts";
import { JsonProtocol } from "../protocol/json/protocol.ts";
import { MqttProtocol } from "../protocol/mqtt/protocol.ts";
import type { Applied } from "../queue/rpc.ts";
import { Arrivals } from "./arrivals.ts";
import { AttachmentStore, attachedConnection, carriedSession } from "./attachment.ts";
import { Attendance } from "./attendance.ts";
import { Backlog } from "./backlog/backlog.ts";
import { addressLink, type Broker } from "./broker.ts";
import { Connection, type Protocol } from "./connection.ts";
import { Fanout } from "./fanout.ts";
import { Groups } from "./groups.ts";
import { countRetained, Interest } from "./interest.ts";
import { Links } from "./links.ts";
import { OUTBOX, Outbox } from "./outbox.ts";
import { Queues } from "./queues.ts";
import { Requester } from "./requester.ts";
import type { GatewayRpc, RemoteRequest } from "./rpc.ts";
import type { Session } from "./session.ts";
import { SessionStore } from "./session-store.ts";
import { Sessions } from "./sessions.ts";
import { Sys } from "./sys.ts";
import { TokenClock } from "./token-clock.ts";
import { Topics } from "./topics.ts";
import { Writes } from "./writes.ts";

const HEARTBEAT = { request: "ping", response: "pong" };
const SHARD = "gateway";
/** Facts of the backlog that may wait are written after this, ms. */
const LAZY_MS = 1_000;

/** A shard of the sessions. */
export class GatewayObject extends DurableObject<Env> implements GatewayRpc {
  readonly #connections = new Map<WebSocket, Connection>();
  readonly #sockets = new Map<Connection, WebSocket>();
  readonly #writes = new Writes({
    remember: (connection) => this.#remember(connection),
    sent: ({ session }, size) => {
      if (session !== undefined) this.#sys.traffic(session.namespace).bytesSent += size;
    },
    flush: () => this.#flush(),
  });
  readonly #attachments: AttachmentStore;
  readonly #links: Links;
  readonly #fanout = new Fanout((namespace, messages) => {
    this.#sys.traffic(namespace).messagesSent += messages;
  });
  readonly #sys: Sys;
  readonly #queues: Queues;
  readonly #sessions: Sessions;
  readonly #backlog: Backlog;
  readonly #outbox: Outbox;
  readonly #requester: Requester;
  readonly #attendance: Attendance;
  readonly #tokens = new TokenClock();
  readonly #protocols: Protocol[];
  readonly #arrivals = new Arrivals(() => ({
    ...{ queues: this.#queues, backlog: this.#backlog, fanout: this.#fanout },
    flush: () => this.#flush(),
  }));
  #alarmAt = Number.POSITIVE_INFINITY;
  #lazyTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    const gateway = ctx.id.name ?? SHARD;
    const sql = new DurableSql(ctx.storage.sql);
    const store = new SessionStore(sql);
    this.#attachments = new AttachmentStore(sql);
    this.#backlog = Backlog.open(sql, Date.now());
    this.#links = new Links(env, {
      gateway,
      deliver: (queueObject, packet) => this.#arrivals.ofQueue(queueObject, packet),
      lost: (queueObject) => this.#queues.reattach(queueObject),
      topicDeliver: (topicObject, packet) => this.#arrivals.ofTopics(topicObject, packet, () => undefined),
      takeReplies: async (namespace, packet) => ({ results: this.#requester.take(namespace, packet) }),
      afterAnswer: () => this.#flush(),
    });
    const flush = () => this.#flush();
    const link = (namespace: string, address: string) =>
      addressLink({ env, links: this.#links }, namespace, address);
    this.#outbox = new Outbox({ gateway, backlog: this.#backlog, flush, link });
    this.#requester = new Requester({ gateway, flush, link });
    this.#attendance = new Attendance(
      { sql, flush, link: (namespace, topic) => link(namespace, `topic:${topic}`) },
      Date.now(),
    );
    this.#queues = new Queues(gateway, store, this.#links);
    this.#sys = new Sys(
      {
        ...{ gateway, fanout: this.#fanout, afterAnswer: () => this.#flush() },
        sessionsOf: (namespace) => this.#sessions.of(namespace),
        countRetained: (namespace) => countRetained(env, namespace),
      },
      Date.now(),
    );
    const topics = new Topics({
      ...{ env, store, fanout: this.#fanout, sys: this.#sys },
      interest: new Interest(env, gateway),
      inOrder: (name, packet, hand) => this.#arrivals.afterTopics(name, packet, hand),
      afterAnswer: () => this.#flush(),
    });
    const groups = new Groups({ env, queues: this.#queues, afterAnswer: () => this.#flush() });
    this.#sessions = new Sessions({
      ...{ store, topics, groups, queues: this.#queues, attendance: this.#attendance },
      protocol: (name) => this.#protocol(name) ?? this.#protocols[0]!,
      presence: (session, event) => this.#sys.presence(session, event, Date.now()),
      publishWill: (session, will) => this.#outbox.takeOverWill(session.client, will, Date.now()),
    });
    const broker: Broker = {
      ...{ env, gateway, topics },
      traffic: (namespace) => this.#sys.traffic(namespace),
      ...{ links: this.#links, sessions: this.#sessions, queues: this.#queues, groups },
      ...{ backlog: this.#backlog, outbox: this.#outbox, requester: this.#requester },
      attendance: this.#attendance,
      flush: () => this.#flush(),
      welcomed: (connection) => this.#welcomed(connection),
    };
    this.#protocols = [new JsonProtocol(broker), new MqttProtocol(broker)];
    // Answered by the runtime: a heartbeat wakes nothing and costs no time.
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair(HEARTBEAT.request, HEARTBEAT.response));
    this.#restore();
  }

  /** The handshake of a socket. Only the router calls this, and it alone can set these headers. */
  override async fetch(request: Request): Promise<Response> {
    const offered = request.headers.get("sec-websocket-protocol")?.split(",") ?? [];
    const name = offered.map((offer) => offer.trim()).find((offer) => this.#protocol(offer) !== undefined);
    const protocol = this.#protocol(name);
    if (name === undefined || protocol === undefined) {
      return new Response("no known subprotocol", { status: 400 });
    }
    const principal = request.headers.get("dunlin-principal");
    const { 0: client, 1: server } = new WebSocketPair();
    this.ctx.acceptWebSocket(server);
    const connection = this.#connect(server, {
      id: crypto.randomUUID(),
      protocol,
      urlNamespace: request.headers.get("dunlin-namespace") ?? "",
      principal: principal === null ? undefined : (JSON.parse(principal) as Principal),
    });
    this.#remember(connection);
    // A pending timer keeps the object from hibernating: it ends with the hello.
    connection.helloTimer = setTimeout(() => {
      protocol.unannounced(connection);
      this.#flush();
    }, HELLO_TIMEOUT_MS);
    return new Response(null, {
      status: 101,
      webSocket: client,
      headers: { "sec-websocket-protocol": name },
    });
  }

  override webSocketMessage(socket: WebSocket, data: string | ArrayBuffer): void {
    const connection = this.#connections.get(socket);
    if (connection === undefined) return;
    const length = typeof data === "string" ? data.length : data.byteLength;
    const { session } = connection;
    if (session !== undefined) this.#sys.traffic(session.namespace).bytesReceived += length;
    connection.heldBytes = connection.authenticating ? connection.heldBytes + length : 0;
    if (connection.heldBytes > MAX_FRAME_BYTES)
      connection.close(4413, "too much before the answer to a token");
    else if (data === HEARTBEAT.request) connection.write(HEARTBEAT.response);
    else this.#receive(connection, data);
    this.#flush();
  }

  override webSocketClose(socket: WebSocket, code: number): void {
    this.#disconnected(socket);
    // The runtime does not answer the close of a hibernating socket, and these codes may not be sent.
    if (socket.readyState !== WebSocket.CLOSED && code !== 1006 && code !== 1015) {
      socket.close(code === 1005 ? 1000 : code);
    }
  }

  override webSocketError(socket: WebSocket): void {
    this.#disconnected(socket);
  }

  override async alarm(): Promise<void> {
    this.#alarmAt = Number.POSITIVE_INFINITY;
    const now = Date.now();
    this.#sessions.expire(now);
    this.#tokens.run(now);
    for (const protocol of this.#protocols) protocol.run(now);
    this.#sys.run(now);
    this.#attendance.run(now);
    this.#backlog.expire(now);
    this.#flush();
  }

  async deliver(queueObject: string, packet: Uint8Array): Promise<void> {
    this.#arrivals.ofQueue(queueObject, packet);
    this.#flush();
  }

  async probe(queueObject: string, refs: number[], reattach: boolean): Promise<number[]> {
    if (reattach) {
      this.#queues.reattach(queueObject);
      this.#flush();
    }
    return refs.filter((ref) => this.#queues.find(ref) === undefined);
  }

  async queueDeleted(_queueObject: string, refs: number[]): Promise<void> {
    for (const ref of refs) {
      const subscription = this.#queues.find(ref);
      if (subscription === undefined) continue;
      this.#queues.forget(subscription);
      const { connection } = subscription.session;
      connection?.protocol.gone(connection, subscription, "the queue was deleted");
    }
    this.#flush();
  }

  async topicDeliver(topicObject: string, packet: Uint8Array): Promise<{ unwanted: string[] }> {
    const outcome = await new Promise<string[] | Refusal>((resolve) => {
      this.#arrivals.ofTopics(topicObject, packet, resolve);
      this.#flush();
    });
    if (isRefusal(outcome)) throw new Error(outcome.message);
    return { unwanted: outcome };
  }

  async takeReplies(namespace: string, packet: Uint8Array): Promise<Applied> {
    const results = this.#requester.take(namespace, packet);
    this.#flush();
    return { results };
  }

  async request(asked: RemoteRequest): Promise<Uint8Array | Refusal> {
    const reply = this.#requester.askFor(asked);
    this.#flush();
    return reply;
  }

  /** A bug that one client's frame meets ends its connection, and no other. */
  #receive(connection: Connection, data: string | ArrayBuffer): void {
    try {
      connection.protocol.receive(connection, data);
    } catch (error) {
      console.error("a frame could not be carried out:", error);
      connection.close(4000, "the broker failed on this frame");
    }
  }

  #restore(): void {
    const live: Session[] = [];
    for (const socket of this.ctx.getWebSockets()) {
      const saved = this.#attachments.read(socket.deserializeAttachment());
      const protocol = this.#protocol(saved?.protocol);
      if (saved === undefined || protocol === undefined || socket.readyState !== WebSocket.OPEN) continue;
      const { id, urlNamespace, principal, session } = saved;
      const facts = { id, protocol, urlNamespace, principal: principal ?? undefined };
      const connection = this.#connect(socket, facts);
      if (session !== null) {
        connection.session = carriedSession(session, connection);
        live.push(connection.session);
      }
    }
    this.#sessions.restore(live, Date.now());
    for (const [socket, connection] of this.#connections) {
      const { state } = this.#attachments.read(socket.deserializeAttachment())!;
      connection.protocol.restore(connection, state);
      if (connection.session !== undefined) this.#tokens.watch(connection, Date.now());
    }
    this.#attachments.keepOnly(new Set([...this.#sockets.keys()].map(({ id }) => id)));
    const known = new Set([OUTBOX, ...this.#sessions.ids()]);
    for (const session of this.#backlog.sessions()) if (!known.has(session)) this.#backlog.forget(session);
    this.#attendance.keepOnly(known);
    this.#outbox.resume();
    this.#flush();
  }

  #connect(
    socket: WebSocket,
    facts: Pick<Connection, "id" | "protocol" | "urlNamespace" | "principal">,
  ): Connection {
    const connection = new Connection(socket, this.#writes, facts);
    this.#connections.set(socket, connection);
    this.#sockets.set(connection, socket);
    return connection;
  }

  #disconnected(socket: WebSocket): void {
    const connection = this.#connections.get(socket);
    if (connection === undefined) return;
    this.#ended(connection);
    this.#backlog.flushLazy();
    this.#flush();
  }

  #ended(connection: Connection): void {
    const socket = this.#sockets.get(connection);
    if (socket === undefined) return;
    this.#connections.delete(socket);
    this.#sockets.delete(connection);
    clearTimeout(connection.helloTimer);
    connection.ended = true;
    this.#attachments.forget(connection.id);
    connection.protocol.closed(connection);
    this.#sessions.lost(connection, Date.now());
  }

  #welcomed(connection: Connection): void {
    clearTimeout(connection.helloTimer);
    this.#tokens.watch(connection, Date.now());
    connection.change();
  }

  /** Writes down with the socket what its connection is now. */
  #remember(connection: Connection): void {
    try {
      const attached = this.#attachments.toCarry(attachedConnection(connection));
      this.#sockets.get(connection)?.serializeAttachment(attached);
    } catch (error) {
      // One that cannot outlive the object's sleep ends now, and no other with it.
      console.error("a connection could not be written down:", error);
      connection.close(4000, "the broker could not keep this connection");
    }
  }

  /**
   * Ends an event: what must be durable is written, commands leave for the queues and topics, frames for the sockets, and the alarm is
   * set for what ends next. The output gate holds all of it until the rows are on disk.
   */
  #flush(): void {
    // What was closed here counts as gone at once: a peer that is dead never answers, and its will waits for nothing.
    for (const connection of this.#writes.takeClosed()) this.#ended(connection);
    this.#backlog.commit();
    if (this.#backlog.lazy) this.#lazyTimer ??= setTimeout(() => this.#flushLazy(), LAZY_MS);
    this.#links.flush();
    this.#outbox.departed();
    this.#writes.flush(this.#links.busy, Date.now());
    const deadlines = this.#protocols.map(({ nextDeadline }) => nextDeadline);
    const deadline = Math.min(
      this.#sessions.nextDeadline,
      this.#tokens.nextDeadline,
      this.#sys.nextDeadline,
      this.#attendance.nextDeadline,
      ...deadlines,
    );
    if (deadline < this.#alarmAt) {
      this.#alarmAt = deadline;
      this.ctx.storage.setAlarm(deadline);
    }
  }

  #flushLazy(): void {
    this.#lazyTimer = undefined;
    this.#backlog.flushLazy();
  }

  #protocol(name: string | undefined): Protocol | undefined {
    return this.#protocols.find(({ names }) => names.includes(name ?? ""));
  }
}
