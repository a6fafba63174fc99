// The shell of a gateway: hibernating sockets, attachments, the alarm, calls from queues. What frames mean is the protocol's
// business (protocol/), what sessions do is sessions.ts's.
import { DurableObject } from "cloudflare:workers";
import type { Principal } from "../auth/principal.ts";
import type { Env } from "../env.ts";
import { HELLO_TIMEOUT_MS } from "../limits.ts";
import { DeliveryView } from "../link/deliveries.ts";
import { DurableSql } from "../log/sql.ts";
import { JsonProtocol } from "../protocol/json/protocol.ts";
import { Connection, type Protocol } from "./connection.ts";
import { DeliveryOrder } from "./delivery-order.ts";
import { Links } from "./links.ts";
import type { GatewayRpc } from "./rpc.ts";
import type { Session } from "./session.ts";
import { SessionStore } from "./session-store.ts";
import { Sessions } from "./sessions.ts";
import { TokenClock } from "./token-clock.ts";

/* PERSISTED with a socket (at most 16 KiB): what a connection is, so that it goes on when the object wakes. */
interface Attachment {
  version: 1;
  id: string;
  protocol: string;
  urlNamespace: string;
  principal: Principal | null;
  session: Pick<Session, "id" | "namespace" | "client" | "principal" | "expirySeconds"> | null;
}

const HEARTBEAT = { request: "ping", response: "pong" };
const SHARD = "gateway";
/** Queues whose packets are kept in order at once; one that is forgotten begins anew with its next packet. */
const MAX_ORDERS = 1_000;

/** A shard of the sessions. */
export class GatewayObject extends DurableObject<Env> implements GatewayRpc {
  readonly #connections = new Map<WebSocket, Connection>();
  readonly #sockets = new Map<Connection, WebSocket>();
  readonly #dirty = new Set<Connection>();
  readonly #links: Links;
  readonly #sessions: Sessions;
  readonly #tokens = new TokenClock();
  readonly #protocols: Map<string, Protocol>;
  /** By the name of the queue's object. */
  readonly #orders = new Map<string, DeliveryOrder>();
  #alarmAt = Number.POSITIVE_INFINITY;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    const gateway = ctx.id.name ?? SHARD;
    this.#links = new Links(env, {
      gateway,
      deliver: (queueObject, packet) => this.#inOrder(queueObject, packet),
      lost: (queueObject) => this.#sessions.reattach(queueObject),
      afterAnswer: () => this.#flush(),
    });
    this.#sessions = new Sessions(gateway, new SessionStore(new DurableSql(ctx.storage.sql)), this.#links);
    const broker = {
      env,
      links: this.#links,
      sessions: this.#sessions,
      flush: () => this.#flush(),
      remember: (connection: Connection) => this.#remember(connection),
    };
    this.#protocols = new Map([new JsonProtocol(broker)].map((protocol) => [protocol.name, protocol]));
    // Answered by the runtime: a heartbeat wakes nothing and costs no time.
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair(HEARTBEAT.request, HEARTBEAT.response));
    this.#restore();
  }

  /** The handshake of a socket. Only the router calls this, and it alone can set these headers. */
  override async fetch(request: Request): Promise<Response> {
    const offered = request.headers.get("sec-websocket-protocol")?.split(",") ?? [];
    const protocol = offered
      .map((name) => this.#protocols.get(name.trim()))
      .find((known) => known !== undefined);
    if (protocol === undefined) return new Response("no known subprotocol", { status: 400 });
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
    connection.helloTimer = setTimeout(() => connection.close(4408, "no hello in time"), HELLO_TIMEOUT_MS);
    return new Response(null, {
      status: 101,
      webSocket: client,
      headers: { "sec-websocket-protocol": protocol.name },
    });
  }

  override webSocketMessage(socket: WebSocket, data: string | ArrayBuffer): void {
    const connection = this.#connections.get(socket);
    if (connection === undefined) return;
    if (data === HEARTBEAT.request) connection.write(HEARTBEAT.response);
    else connection.protocol.receive(connection, data);
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
    this.#sessions.expire(Date.now());
    this.#tokens.run(Date.now());
    this.#flush();
  }

  async deliver(queueObject: string, packet: Uint8Array): Promise<void> {
    this.#inOrder(queueObject, packet);
    this.#flush();
  }

  async probe(queueObject: string, refs: number[], reattach: boolean): Promise<number[]> {
    if (reattach) {
      this.#sessions.reattach(queueObject);
      this.#flush();
    }
    return refs.filter((ref) => this.#sessions.find(ref) === undefined);
  }

  async queueDeleted(_queueObject: string, refs: number[]): Promise<void> {
    for (const ref of refs) {
      const subscription = this.#sessions.find(ref);
      if (subscription === undefined) continue;
      this.#sessions.forget(subscription);
      const { connection } = subscription.session;
      connection?.protocol.gone(connection, subscription, "the queue was deleted");
    }
    this.#flush();
  }

  #inOrder(queueObject: string, packet: Uint8Array): void {
    let order = this.#orders.get(queueObject);
    if (order === undefined) {
      if (this.#orders.size >= MAX_ORDERS) this.#orders.delete(this.#orders.keys().next().value!);
      order = new DeliveryOrder(() => this.#flush());
      this.#orders.set(queueObject, order);
    }
    order.take(new DeliveryView(packet), (deliveries) => this.#hand(queueObject, deliveries));
  }

  #hand(queueObject: string, deliveries: DeliveryView): void {
    const gone = new Set<number>();
    for (; deliveries.valid; deliveries.next()) {
      const subscription = this.#sessions.find(deliveries.ref);
      if (subscription === undefined) {
        gone.add(deliveries.ref);
        continue;
      }
      // What was on its way to an older connection comes again with all that the session holds, as soon as it has a new one.
      if (deliveries.generation !== subscription.generation) continue;
      const { connection } = subscription.session;
      connection?.protocol.deliver(connection, subscription, deliveries);
    }
    if (gone.size > 0) this.#sessions.disown(queueObject, [...gone]);
  }

  #restore(): void {
    const live: Session[] = [];
    for (const socket of this.ctx.getWebSockets()) {
      const saved = socket.deserializeAttachment() as Attachment | null;
      const protocol = this.#protocols.get(saved?.protocol ?? "");
      if (saved === null || protocol === undefined || socket.readyState !== WebSocket.OPEN) continue;
      const { id, urlNamespace, principal, session } = saved;
      const connection = this.#connect(socket, {
        id,
        protocol,
        urlNamespace,
        principal: principal ?? undefined,
      });
      if (session === null) continue;
      connection.session = {
        ...session,
        connection,
        endsAt: Number.POSITIVE_INFINITY,
        subscriptions: new Map(),
      };
      live.push(connection.session);
    }
    this.#sessions.restore(live, Date.now());
    for (const { connection } of live)
      if (connection !== undefined) this.#tokens.watch(connection, Date.now());
    this.#flush();
  }

  #connect(
    socket: WebSocket,
    facts: Pick<Connection, "id" | "protocol" | "urlNamespace" | "principal">,
  ): Connection {
    const connection = new Connection(socket, this.#dirty, facts);
    this.#connections.set(socket, connection);
    this.#sockets.set(connection, socket);
    return connection;
  }

  #disconnected(socket: WebSocket): void {
    const connection = this.#connections.get(socket);
    if (connection === undefined) return;
    this.#connections.delete(socket);
    this.#sockets.delete(connection);
    clearTimeout(connection.helloTimer);
    this.#sessions.lost(connection, Date.now());
    this.#flush();
  }

  /** Writes down with the socket what its connection is now. */
  #remember(connection: Connection): void {
    const { id, protocol, urlNamespace, principal = null, session } = connection;
    const attachment: Attachment = {
      version: 1,
      id,
      protocol: protocol.name,
      urlNamespace,
      // Once there is a session, its principal is the one that counts: both would not fit.
      principal: session === undefined ? principal : null,
      session: session === undefined ? null : plain(session),
    };
    this.#sockets.get(connection)?.serializeAttachment(attachment);
    if (session === undefined) return;
    clearTimeout(connection.helloTimer);
    this.#tokens.watch(connection, Date.now());
  }

  /** Ends an event: commands leave for the queues, frames for the sockets, and the alarm is set for what ends next. */
  #flush(): void {
    this.#links.flush();
    for (const connection of this.#dirty) connection.flush();
    this.#dirty.clear();
    const deadline = Math.min(this.#sessions.nextDeadline, this.#tokens.nextDeadline);
    if (deadline < this.#alarmAt) {
      this.#alarmAt = deadline;
      this.ctx.storage.setAlarm(deadline);
    }
  }
}

function plain({
  id,
  namespace,
  client,
  principal,
  expirySeconds,
}: Session): NonNullable<Attachment["session"]> {
  return { id, namespace, client, principal, expirySeconds };
}
