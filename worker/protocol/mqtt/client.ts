// One MQTT connection: its version, what both sides announced, its aliases, and the acknowledgements that wait their turn.

import type { Inbound } from "../../gateway/backlog/inbound.ts";
import type { Outgoing } from "../../gateway/backlog/outgoing.ts";
import type { Connection } from "../../gateway/connection.ts";
import type { QueueSubscription, Session } from "../../gateway/session.ts";
import { fromBase64, toBase64 } from "../../message/base64.ts";
import type { Packet, Properties, Version } from "./codec/packets.ts";
import { PacketReader } from "./codec/reader.ts";
import { encode } from "./codec/writer.ts";

/** Topic aliases that a client may set. */
export const TOPIC_ALIASES = 16;
/** Topic aliases that the broker sets, if the client takes as many. */
const MAX_ALIASES_OUT = 64;
/** The activity of a connection is written down when it is a quarter of the keep alive old. */
const SEEN_SHARE = 4;

/** A delivery of a queue that waits for its PUBACK. */
export interface Held {
  ref: number;
  target: string;
  position: number;
  lease: number;
}

/** What of a client goes with its socket through the gateway's sleep; JSON. */
interface Saved {
  version: Version;
  keepAliveMs: number;
  seen: number;
  receiveMaximum: number;
  packetMaximum: number | null;
  aliasMaximum: number;
  problems: boolean;
  resumed?: boolean;
  method?: string;
  aliases?: [number, string][];
  aliasesOut?: string[];
  held?: [number, Held][];
  /** Refs of subscriptions that have messages in `waiting`: their queues are asked for them again. */
  waiting?: number[];
  outgoing?: string;
  inbound?: string;
  unreleased?: number;
  rest?: string;
}

/** The state of one connection. */
export class Client {
  readonly connection: Connection;
  readonly reader: PacketReader;
  /** Its session, once it has one; still known when a newer connection has taken it. */
  session: Session | undefined;
  /** Between CONNECT and CONNACK there may be an exchange of AUTH packets. */
  stage: "new" | "connecting" | "connected" | "closed" = "new";
  /** Its session is older than this connection. */
  resumed = false;
  /** ms; 0: none. */
  keepAliveMs = 0;
  lastSeen: number;
  /** Whether the bytes of a packet begun are written down with the rest. */
  restCounts = true;
  receiveMaximum = 65_535;
  /** Bytes of the largest packet that the client takes. */
  packetMaximum = Number.POSITIVE_INFINITY;
  /** Aliases that the client lets the broker set. */
  aliasMaximum = 0;
  /** Whether the client wants reason strings and user properties with errors [MQTT-3.1.2-29]. */
  problems = true;
  /** Of the CONNECT; the only one that AUTH packets may name [MQTT-4.12.0-5]. */
  method: string | undefined;
  /** Topics by the alias that the client gave them; of this connection alone [MQTT-3.3.2-7]. */
  readonly aliases = new Map<number, string>();
  /** Aliases by topic, of this connection alone. */
  readonly aliasesOut = new Map<string, number>();
  /** Messages of queues that were sent and not acknowledged, by packet id. */
  readonly held = new Map<number, Held>();
  /** Deliveries of queues that the window has no room for yet. */
  readonly waiting: { subscription: QueueSubscription; record: Uint8Array; held: Held; qos: 1 | 2 }[] = [];
  outgoing: Outgoing | undefined;
  inbound: Inbound | undefined;
  /** PUBLISH packets of QoS 1 that were not answered yet; they count against what the client may send [MQTT-3.3.4-7]. */
  unanswered = 0;
  /** Those of QoS 2 on this connection that PUBREL has not come for; what a session brings along does not count (4.9). */
  unreleased = 0;
  /** SUBSCRIBE packets that were not answered yet, and what is to be sent after them. */
  subscribing = 0;
  readonly afterSuback: (() => void)[] = [];
  #seenSaved = 0;
  readonly #answers: { bytes: Uint8Array | undefined }[] = [];

  constructor(connection: Connection, maxPacketBytes: number, now: number) {
    this.connection = connection;
    this.reader = new PacketReader({ maxPacketBytes });
    this.lastSeen = now;
  }

  get version(): Version {
    return this.reader.version;
  }

  /** When the connection counts as lost, ms since the epoch [MQTT-3.1.2-22]. */
  get deadline(): number {
    return this.keepAliveMs === 0 ? Number.POSITIVE_INFINITY : this.lastSeen + this.keepAliveMs * 1.5;
  }

  /** The client was heard. */
  heard(now: number): void {
    this.lastSeen = now;
    if (this.keepAliveMs > 0 && now - this.#seenSaved > this.keepAliveMs / SEEN_SHARE)
      this.connection.change();
  }

  /** Writes a packet, unless the client does not take one so large [MQTT-3.1.2-24]. */
  send(packet: Packet): void {
    const bytes = encode(packet, this.version);
    if (bytes.length <= this.packetMaximum) this.connection.write(bytes);
    else if ("properties" in packet) {
      const { properties: _, ...bare } = packet;
      this.send(bare as Packet);
    }
  }

  /** Why something was refused, as properties: only where the client wants them and they fit [MQTT-3.2.2-19]. */
  reason(text: string): Properties | undefined {
    return this.version === 5 && this.problems ? { reasonString: text.slice(0, 500) } : undefined;
  }

  /** Tells a 5.0 client why, and closes: earlier versions have no word for it [MQTT-4.13.1-1, 3.1.1: MQTT-4.8.0-1]. */
  disconnect(reasonCode: number, text: string, closeCode: number): void {
    if (this.stage === "connected" && this.version === 5) {
      const properties = this.reason(text);
      this.send({ type: "disconnect", reasonCode, ...(properties === undefined ? {} : { properties }) });
    }
    this.close(closeCode, text);
  }

  close(code: number, text: string): void {
    this.stage = "closed";
    // A closing reason has at most 123 bytes.
    this.connection.close(code, text.replaceAll(/[^ -~]/g, "?").slice(0, 120));
  }

  /** A place among the answers to PUBLISH, which leave in the order that these came in [MQTT-4.6.0-2, MQTT-4.6.0-3]. */
  answerLater(): (bytes: Uint8Array) => void {
    const place: { bytes: Uint8Array | undefined } = { bytes: undefined };
    this.#answers.push(place);
    return (bytes) => {
      place.bytes = bytes;
      while (this.#answers[0]?.bytes !== undefined) this.connection.write(this.#answers.shift()!.bytes!);
    };
  }

  /** The alias for a topic: known (the topic may be left out), new, or none. */
  aliasFor(topic: string): { alias: number; known: boolean } | undefined {
    const known = this.aliasesOut.get(topic);
    if (known !== undefined) return { alias: known, known: true };
    if (this.aliasesOut.size >= Math.min(this.aliasMaximum, MAX_ALIASES_OUT)) return undefined;
    const alias = this.aliasesOut.size + 1;
    this.aliasesOut.set(topic, alias);
    this.connection.change();
    return { alias, known: false };
  }

  save(): Saved | undefined {
    if (this.stage !== "connected") return undefined;
    this.#seenSaved = this.lastSeen;
    const {
      version,
      keepAliveMs,
      lastSeen: seen,
      receiveMaximum,
      packetMaximum,
      aliasMaximum,
      problems,
    } = this;
    const saved: Saved = {
      ...{ version, keepAliveMs, seen, receiveMaximum, aliasMaximum, problems },
      packetMaximum: Number.isFinite(packetMaximum) ? packetMaximum : null,
    };
    if (this.resumed) saved.resumed = true;
    if (this.method !== undefined) saved.method = this.method;
    if (this.aliases.size > 0) saved.aliases = [...this.aliases];
    if (this.aliasesOut.size > 0) saved.aliasesOut = [...this.aliasesOut.keys()];
    if (this.held.size > 0) saved.held = [...this.held];
    if (this.waiting.length > 0) saved.waiting = [...new Set(this.waiting.map(({ held }) => held.ref))];
    const outgoing = this.outgoing?.save() ?? "";
    if (outgoing !== "") saved.outgoing = outgoing;
    const inbound = this.inbound?.save() ?? "";
    if (inbound !== "") saved.inbound = inbound;
    if (this.unreleased > 0) saved.unreleased = this.unreleased;
    if (this.reader.unread > 0 && this.restCounts) saved.rest = toBase64(this.reader.rest);
    return saved;
  }

  /** @returns refs of queue subscriptions that must be attached again */
  restore(value: unknown): number[] {
    const saved = value as Saved;
    this.stage = "connected";
    this.reader.version = saved.version;
    this.keepAliveMs = saved.keepAliveMs;
    // It may have been heard after that was written down, but not much later.
    this.lastSeen = saved.seen + saved.keepAliveMs / SEEN_SHARE;
    this.#seenSaved = saved.seen;
    this.receiveMaximum = saved.receiveMaximum;
    this.packetMaximum = saved.packetMaximum ?? Number.POSITIVE_INFINITY;
    this.aliasMaximum = saved.aliasMaximum;
    this.problems = saved.problems;
    this.resumed = saved.resumed ?? false;
    this.method = saved.method;
    for (const [alias, topic] of saved.aliases ?? []) this.aliases.set(alias, topic);
    for (const topic of saved.aliasesOut ?? []) this.aliasesOut.set(topic, this.aliasesOut.size + 1);
    for (const [packetId, held] of saved.held ?? []) this.held.set(packetId, held);
    this.outgoing?.restore(saved.outgoing ?? "");
    this.inbound?.restore(saved.inbound ?? "");
    this.unreleased = saved.unreleased ?? 0;
    if (saved.rest !== undefined) this.reader.push(fromBase64(saved.rest)!);
    return saved.waiting ?? [];
  }
}
