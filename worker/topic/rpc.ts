// What a Topic object offers to the rest of the broker. The object implements it; callers know nothing else of it.
import type { Refusal } from "../errors.ts";
import type { Published } from "../link/results.ts";
import type { Applied } from "../queue/rpc.ts";
import type { TopicSettings, TopicSettingsPatch } from "./settings.ts";

/** Where in a topic's history to begin: `seq` is the last one that the reader has, `time` is ms since the epoch. */
export type From =
  | "new"
  | "first"
  | "last"
  | { seq: number; epoch?: number }
  | { time: number }
  | { last: number };

/** What to read of the topics that a filter matches. */
export interface ReadRequest {
  filter: string;
  from: From;
  /** Whether the retained messages come first. */
  retained: "send" | "none";
  /** Bytes of records after which the answer ends; it always holds at least one record if there is one. */
  limitBytes: number;
  /** Go on with the retained messages after this topic: `moreRetained` of the page before. */
  retainedAfter?: string;
}

/** Registers an interest. The same target and filter again replaces what was known of them. */
export interface TopicSubscribe {
  /** `gateway-0`, or `queue:NAME` for a binding. */
  target: string;
  filter: string;
  /** What it must get is stored until it has it: messages of QoS 1 and 2, for a queue all. */
  durable: boolean;
  /** Only for queues: which messages it gets; absent: all. */
  selector?: string;
  /** Only for gateways: what to hand out with the answer. */
  read?: ReadRequest;
}

/** Where one topic stands at a read. */
export interface TopicPosition {
  topic: string;
  epoch: number;
  /** Its last seq, 0 when nothing was published yet. Everything after it comes as live packets. */
  seq: number;
  /** Whether all that was asked for is in the answer (and its further pages). */
  recovered: boolean;
  /** The page ended inside this topic's history: read on with `from: { seq: more, epoch }`. */
  more?: number;
}

/** The answer to a subscription or a read. */
export interface TopicSubscribed {
  /**
   * A topic packet (link/topic-packet.ts): retained messages by topic, then history by topic. It has no number of its own in the
   * gateway's stream: its `number` is that of the last packet before it, so what comes with a higher one was published after this.
   */
  packet: Uint8Array;
  /** How many records at the packet's beginning are retained ones. */
  retained: number;
  /** Set when retained messages are left: `retainedAfter` of the next page. */
  moreRetained?: string;
  /** The topics of this object that match and exist, by name; for an exact filter always one. */
  topics: TopicPosition[];
}

/** A stretch of one topic's history. */
export interface TopicHistory {
  /** Records (message/record.ts), oldest first. */
  records: Uint8Array;
  epoch: number;
  /** The topic's last seq. */
  seq: number;
  /** Whether all that was asked for is there, but for what the limit cut off. */
  recovered: boolean;
}

/** Figures of one topic. */
export interface TopicStats {
  /** Its last seq. */
  seq: number;
  /** Messages published since the object woke, or since ever when the topic has retention. */
  published: number;
  /** Whether it has a retained message. */
  retained: boolean;
  /** Messages in its history, and their bytes. */
  stored: number;
  storedBytes: number;
  /** Gateways and queues that its messages go to. */
  interested: number;
  /** Rows that its object wrote since it woke: the platform's bill. */
  rowsWritten: number;
}

/** A topic as `GET /v1/topics/{name}` shows it. */
export interface TopicDescription {
  name: string;
  epoch: number;
  settings: TopicSettings;
  stats: TopicStats;
}

/** Calls on a Topic object. Refusals are values; a rejected promise means that the object could not be reached. */
export interface TopicRpc {
  /** Applies a packet of publish commands (link/commands.ts) and answers once what must be stored is. A gateway gives its name. */
  apply(packet: Uint8Array, gateway?: string): Promise<Applied>;
  /**
   * Takes messages of another object exactly once: `id` rises with every transfer of one source. Each record names its topic.
   *
   * @returns what became of each, nothing of a transfer taken before; or why it must be sent again later
   */
  transfer(source: string, id: number, records: Uint8Array): Promise<(Published | Refusal)[] | Refusal>;
  /** Registers an interest; it is effective when this returns. Wildcards must stand in the Directory before. */
  subscribe(request: TopicSubscribe): Promise<TopicSubscribed | Refusal>;
  /** Reads without registering; the answer's packet tells its place among the gateway's live packets. */
  read(gateway: string, request: ReadRequest): Promise<TopicSubscribed>;
  /** Takes interests away. */
  unsubscribe(target: string, filters: string[]): Promise<void>;
  /** The retained message as one record (message/record.ts). */
  retained(topic: string): Promise<Uint8Array | undefined>;
  /** Up to `limit` messages of a topic's history. */
  history(topic: string, from: From, limit: number): Promise<TopicHistory | Refusal>;
  /** Creates the topic or changes its settings. */
  declare(
    topic: string,
    patch: TopicSettingsPatch,
  ): Promise<(TopicDescription & { created: boolean }) | Refusal>;
  describe(topic: string): Promise<TopicDescription | Refusal>;
  /** Deletes the topic: its retained message, its history, its dedup window, its settings. Interest in it stays. */
  remove(topic: string): Promise<Refusal | undefined>;
  /** Figures of the whole object. */
  counts(): Promise<{ retained: number; topics: number }>;
}
