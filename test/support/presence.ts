// Drives the rooms of a topic object in Node: members act, one gateway watches, and what it hears is kept.
import { isRefusal, type Refusal } from "../../worker/errors.ts";
import type { Published } from "../../worker/link/results.ts";
import type { TopicPacketWriter } from "../../worker/link/topic-packet.ts";
import { presenceAction, toPresence } from "../../worker/message/presence.ts";
import type { Message } from "../../worker/message/record.ts";
import type { ReadAnswer } from "../../worker/topic/read.ts";
import type { From } from "../../worker/topic/rpc.ts";
import { TopicStore } from "../../worker/topic/store.ts";
import { Topics } from "../../worker/topic/topics.ts";
import { messagesIn } from "./machine.ts";
import { message } from "./message.ts";
import { TopicMachine } from "./topics.ts";

const GATEWAY = "gateway-0";

/** What a watcher hears, with its place. */
export interface Told {
  seq: number;
  kind: string;
  count: number;
  action?: string;
  client?: string;
  data?: unknown;
  members?: { client: string; data: unknown; since: number }[];
  [field: string]: unknown;
}

/** How a member acts. */
export interface Acting {
  /** By default one of the client's own. */
  session?: string;
  ttlMs?: number;
}

/** A topic object's machine with rooms. */
export class PresenceMachine extends TopicMachine {
  readonly #maxMembers: number | undefined;

  constructor(maxMembers?: number) {
    super();
    this.#maxMembers = maxMembers;
    this.topics = new Topics(new TopicStore(this.sql), this.now, maxMembers);
  }

  enter(room: string, client: string, data: unknown = null, acting: Acting = {}): Published | Refusal {
    return this.act(room, client, "enter", data, acting);
  }

  leave(room: string, client: string): Published | Refusal {
    return this.act(room, client, "leave");
  }

  /** Says something to a room, as the edge hands it on. */
  act(
    room: string,
    client: string,
    action: "enter" | "update" | "leave",
    data: unknown = null,
    { session = `session of ${client}`, ttlMs }: Acting = {},
  ): Published | Refusal {
    const expiresAt = ttlMs === undefined ? 0 : this.now + ttlMs;
    const given = message({ body: JSON.stringify({ action, data }), expiresAt });
    const said = presenceAction(given);
    if (isRefusal(said)) return said;
    const made = toPresence(given, `$presence/${room}`, { client, session }, said);
    if (isRefusal(made)) return made;
    return this.publish(made as Message & { body: string })[0]!;
  }

  /** The gateway begins to watch a room. */
  watch(room: string): ReadAnswer {
    return this.subscribe(GATEWAY, `$presence/${room}`, { read: { retained: "send" } });
  }

  read(room: string, from: From): ReadAnswer {
    const retained = from === "last" ? "send" : "none";
    const request = { filter: `$presence/${room}`, from, retained, limitBytes: 1_000_000 } as const;
    return this.call(() => this.topics.read(request, this.now));
  }

  /** What the gateway heard since the last look. */
  heard(): Told[] {
    return this.at(GATEWAY).got.splice(0).map(told);
  }

  /** What a watcher would begin with. */
  snapshot(room: string): Told & { epoch: number } {
    const record = this.call(() => this.topics.retained(`$presence/${room}`, this.now))!;
    const [found] = messagesIn(record);
    return { ...told(found!), epoch: found!.epoch };
  }

  /** The one snapshot of an answer. */
  snapshotIn(packet: TopicPacketWriter): Told {
    const [found, ...more] = messagesIn(packet.records());
    if (found === undefined || more.length > 0) throw new Error(`${more.length + 1} records`);
    return told(found);
  }

  override pass(ms: number): void {
    this.now += ms;
    this.turn(() => this.topics.run(this.now));
  }

  override reopen(): void {
    super.reopen();
    this.topics = new Topics(new TopicStore(this.sql), this.now, this.#maxMembers);
  }
}

function told({ seq, body }: Message): Told {
  return { ...(JSON.parse(String(body)) as Told), seq };
}
