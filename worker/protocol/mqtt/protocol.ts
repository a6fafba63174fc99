// MQTT 3.1, 3.1.1 and 5.0 over WebSockets: from the bytes of frames to packets, and each packet to who carries it out.
import type { Broker } from "../../gateway/broker.ts";
import type { Chunk, Connection, Protocol } from "../../gateway/connection.ts";
import type { TopicRun } from "../../gateway/fanout.ts";
import type { QueueSubscription, Session, Subscription, TopicSubscription } from "../../gateway/session.ts";
import type { DeliveryView } from "../../link/deliveries.ts";
import { Client } from "./client.ts";
import { CLOSE } from "./close.ts";
import { pingresp } from "./codec/answers.ts";
import type { Disconnect, Malformed, Packet } from "./codec/packets.ts";
import { ReasonCode } from "./codec/reason.ts";
import { Connecting, packetMaximum } from "./connect.ts";
import { Delivering } from "./delivering.ts";
import { Publishing } from "./publishing.ts";
import { Subscribing } from "./subscribing.ts";
import { concat } from "./templates.ts";

const NEVER = Number.POSITIVE_INFINITY;
const FOREVER = 0xffffffff;
/** Bytes of a packet begun that are written down with every frame: they cost nothing in a socket's attachment. */
const SHORT_REST = 2_048;
/** Longer ones are when nothing more was heard for this long. */
const REST_MS = 1_000;

/** The adapter of MQTT. */
export class MqttProtocol implements Protocol {
  readonly names = ["mqtt", "mqttv3.1"] as const;
  /** No keep alive runs out before this. */
  nextDeadline = NEVER;
  readonly #broker: Broker;
  readonly #clients = new Map<Connection, Client>();
  /** Clients that are in the middle of a long packet. */
  readonly #slow = new Set<Client>();
  #slowTimer: ReturnType<typeof setTimeout> | undefined;
  readonly #connecting: Connecting;
  readonly #publishing: Publishing;
  readonly #subscribing: Subscribing;
  readonly #delivering: Delivering;

  constructor(broker: Broker) {
    this.#broker = broker;
    this.#publishing = new Publishing(broker);
    const delivering = new Delivering(broker, (session) => this.#clientOf(session));
    this.#delivering = delivering;
    this.#subscribing = new Subscribing(broker, (client, subscription) =>
      delivering.forget(client, subscription),
    );
    this.#connecting = new Connecting(
      broker,
      (client) => this.#begun(client),
      (client) => this.#read(client),
    );
  }

  receive(connection: Connection, data: string | ArrayBuffer): void {
    // [MQTT-6.0.0-1]
    if (typeof data === "string") return connection.close(CLOSE.notBinary, "MQTT frames are binary");
    const now = Date.now();
    const client = this.#client(connection, now);
    client.heard(now);
    const begun = client.reader.unread;
    client.reader.push(new Uint8Array(data));
    this.#read(client);
    // A packet begun must not be lost when the object sleeps before the rest comes [MQTT-6.0.0-2].
    const { unread } = client.reader;
    client.restCounts = unread <= SHORT_REST;
    if (!client.restCounts) this.#rememberLater(client);
    else if (begun > 0 || unread > 0) connection.change();
  }

  deliver(connection: Connection, subscription: QueueSubscription, delivery: DeliveryView): void {
    const client = this.#clients.get(connection);
    if (client === undefined) return;
    if (isExpired(connection)) return this.expired(connection);
    this.#delivering.deliver(client, subscription, delivery);
  }

  /** MQTT has no word for what becomes of a queue's consumers, nor for what others have settled. */
  notice(): void {}

  fanout(run: TopicRun): void {
    const now = Date.now();
    for (const { session } of run.matches) {
      if (session.connection !== undefined && isExpired(session.connection, now))
        this.expired(session.connection);
    }
    this.#delivering.fanout(run, now);
  }

  replay(subscription: TopicSubscription, records: Uint8Array, retained: number): Promise<void> {
    return this.#delivering.replay(subscription, records, retained, Date.now());
  }

  /** MQTT has no word for messages that are missing. */
  lag(): void {}

  gone(connection: Connection, subscription: Subscription, reason: string): void {
    if (subscription.kind === "topic") return;
    // There is no word for the end of one subscription either: the client connects again and finds out.
    const client = this.#clients.get(connection);
    client?.disconnect(ReasonCode.AdministrativeAction, reason, CLOSE.brokerFailed);
  }

  /** A client that can refresh its token does so before it ends; MQTT has no word to remind it. */
  expiring(): void {}

  expired(connection: Connection): void {
    const text = "the token has expired";
    this.#end(connection, ReasonCode.MaximumConnectTime, text, CLOSE.unauthenticated);
  }

  takenOver(connection: Connection): void {
    // [MQTT-3.1.4-3]
    const text = "taken over by a newer connection of the same client";
    this.#end(connection, ReasonCode.SessionTakenOver, text, CLOSE.takenOver);
    this.closed(connection);
  }

  unannounced(connection: Connection): void {
    connection.close(CLOSE.noConnect, "no CONNECT in time");
  }

  closed(connection: Connection): void {
    const client = this.#clients.get(connection);
    this.#clients.delete(connection);
    if (client?.session !== undefined) this.#delivering.lost(client);
  }

  ended(session: Session): void {
    this.#broker.backlog.forget(session.id);
  }

  run(now: number): void {
    this.nextDeadline = NEVER;
    for (const client of this.#clients.values()) {
      if (client.stage === "closed") continue;
      if (client.deadline <= now && client.stage === "connected") {
        // [MQTT-3.1.2-22]
        const text = `nothing was heard for ${client.keepAliveMs * 1.5} ms`;
        const { connection } = client;
        this.#end(connection, ReasonCode.KeepAliveTimeout, text, CLOSE.keepAlive);
        // A client that is gone does not answer the end of its socket either.
        this.closed(connection);
        this.#broker.sessions.lost(connection, now);
      } else this.nextDeadline = Math.min(this.nextDeadline, client.deadline);
    }
  }

  save(connection: Connection): unknown {
    return this.#clients.get(connection)?.save();
  }

  restore(connection: Connection, saved: unknown): void {
    if (saved === undefined || connection.session === undefined) return;
    const client = this.#client(connection, Date.now());
    const { id, expirySeconds } = connection.session;
    client.session = connection.session;
    client.outgoing = this.#broker.backlog.outgoing(id, expirySeconds > 0);
    client.inbound = this.#broker.backlog.inbound(id);
    for (const ref of client.restore(saved)) {
      const subscription = this.#broker.queues.find(ref);
      if (subscription !== undefined) this.#broker.queues.attachAgain(subscription);
    }
    this.nextDeadline = Math.min(this.nextDeadline, client.deadline);
  }

  join(chunks: Chunk[]): Uint8Array {
    return concat(chunks as Uint8Array[]);
  }

  /** A timer that runs keeps the object from its sleep, so what a long packet has so far is written only when no more of it comes. */
  #rememberLater(client: Client): void {
    this.#slow.add(client);
    this.#slowTimer ??= setTimeout(() => {
      this.#slowTimer = undefined;
      const slow = [...this.#slow];
      this.#slow.clear();
      for (const each of slow) {
        if (each.stage === "closed" || each.reader.unread <= SHORT_REST) continue;
        if (Date.now() - each.lastSeen < REST_MS) {
          this.#rememberLater(each);
          continue;
        }
        each.restCounts = true;
        each.connection.change();
      }
      this.#broker.flush();
    }, REST_MS);
  }

  #client(connection: Connection, now: number): Client {
    let client = this.#clients.get(connection);
    if (client === undefined) {
      client = new Client(connection, packetMaximum(this.#broker), now);
      this.#clients.set(connection, client);
    }
    return client;
  }

  #clientOf({ connection }: Session): Client | undefined {
    return connection === undefined ? undefined : this.#clients.get(connection);
  }

  /** Carries out what has arrived whole. While a CONNECT is being looked at, what follows it waits. */
  #read(client: Client): void {
    const { connection, reader } = client;
    while (!connection.authenticating && client.stage !== "closed") {
      const packet = reader.next();
      if (packet === undefined) return;
      // A socket that its client is closing does not count as open any more: its last packets count nonetheless.
      if (connection.ended) return;
      if (packet.type === "malformed") return this.#malformed(client, packet);
      if (client.stage === "connected" && isExpired(connection) && packet.type !== "auth") {
        return this.expired(connection);
      }
      this.#run(client, packet);
    }
  }

  #run(client: Client, packet: Packet): void {
    const now = client.lastSeen;
    if (packet.type === "connect") return this.#connecting.connect(client, packet);
    if (packet.type === "auth") return this.#connecting.auth(client, packet);
    if (client.stage !== "connected") {
      return client.close(CLOSE.protocol, "the first packet is CONNECT"); // [MQTT-3.1.0-1]
    }
    switch (packet.type) {
      case "publish":
        return this.#publishing.publish(client, packet, now);
      case "puback":
        return this.#delivering.puback(client, packet, now);
      case "pubrec":
        return this.#delivering.pubrec(client, packet, now);
      case "pubrel":
        return this.#publishing.release(client, packet);
      case "pubcomp":
        return this.#delivering.pubcomp(client, packet, now);
      case "subscribe":
        return this.#subscribing.subscribe(client, packet);
      case "unsubscribe":
        return this.#subscribing.unsubscribe(client, packet);
      case "pingreq":
        return client.connection.write(pingresp()); // [MQTT-3.12.4-1]
      case "disconnect":
        return this.#disconnect(client, packet, now);
    }
  }

  #begun(client: Client): void {
    this.nextDeadline = Math.min(this.nextDeadline, client.deadline);
    this.#delivering.resume(client, client.lastSeen);
  }

  /** The client leaves: without its will unless it says otherwise [MQTT-3.14.4-3]. */
  #disconnect(client: Client, { reasonCode, properties }: Disconnect, now: number): void {
    const { connection } = client;
    const { session } = connection;
    const expiry = properties?.sessionExpiryInterval;
    if (session !== undefined && expiry !== undefined) {
      if (session.expirySeconds === 0 && expiry > 0) {
        const text = "a session that ends with its connection cannot be kept now";
        return client.disconnect(ReasonCode.ProtocolError, text, CLOSE.protocol); // 3.14.2.2.2
      }
      session.expirySeconds = expiry === FOREVER ? NEVER : expiry;
    }
    if (session !== undefined && reasonCode === ReasonCode.NormalDisconnection) {
      session.will = undefined;
      this.#broker.attendance.leaveAll(session);
    }
    this.closed(connection);
    this.#broker.sessions.lost(connection, now);
    client.close(CLOSE.normal, "");
  }

  /** Malformed packets and protocol errors: the reason where there is a word for it, then the end [MQTT-4.13.1-1]. */
  #malformed(client: Client, { reason, message }: Malformed): void {
    if (client.stage === "new" && client.reader.version !== undefined && isConnect(reason)) {
      const properties = client.reason(message);
      const connack = { type: "connack" as const, sessionPresent: false, reasonCode: reason };
      client.send(properties === undefined ? connack : { ...connack, properties });
    }
    const tooLarge = reason === ReasonCode.PacketTooLarge;
    client.disconnect(reason, message, tooLarge ? CLOSE.tooLarge : CLOSE.protocol);
  }

  #end(connection: Connection, reason: number, text: string, code: number): void {
    const client = this.#clients.get(connection);
    if (client === undefined) connection.close(code, text);
    else client.disconnect(reason, text, code);
  }
}

/** Whether a first packet that was refused is answered: only an unknown version must be [MQTT-3.1.2-2]. */
function isConnect(reason: number): boolean {
  return reason === ReasonCode.UnsupportedProtocolVersion;
}

function isExpired(connection: Connection, now = Date.now()): boolean {
  const expiresAt = connection.session?.principal.expiresAt;
  return expiresAt !== undefined && expiresAt <= now;
}
