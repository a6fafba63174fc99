// What a gateway offers to queues, Topic objects, other gateways and HTTP calls (its sockets come through fetch).
import type { Refusal } from "../errors.ts";
import type { Condition } from "../link/condition.ts";
import type { Applied } from "../queue/rpc.ts";

/** What is asked through a gateway by who has no connection to it. */
export interface RemoteRequest {
  namespace: string;
  /** Who asks: only the same one may ask the same again. */
  asker: string;
  /** `queue:NAME` or `topic:NAME` */
  address: string;
  /** The message as one record (message/record.ts). */
  record: Uint8Array;
  /** What must hold for it to be stored, beside somebody's being there. */
  condition: Condition | undefined;
  timeoutMs: number;
}

/** Calls on a Gateway. */
export interface GatewayRpc {
  /** Hands deliveries (link/deliveries.ts) of the named queue object to the consumers' connections. */
  deliver(queueObject: string, deliveries: Uint8Array): Promise<void>;
  /** Which of these consumers of the named queue object no longer exist here; `reattach` those that do, and send what they hold. */
  probe(queueObject: string, refs: number[], reattach: boolean): Promise<number[]>;
  /** The queue was deleted: its consumers here are told. */
  queueDeleted(queueObject: string, refs: number[]): Promise<void>;
  /**
   * Hands a topic packet (link/topic-packet.ts) of the named Topic object to the sessions that want its messages. When this returns, a
   * packet with an id is kept as far as durable sessions want it.
   *
   * @returns topics among its messages that nobody here wants (any more)
   * @throws when the gateway has no room for what it must keep: the object tries again
   */
  topicDeliver(topicObject: string, packet: Uint8Array): Promise<{ unwanted: string[] }>;
  /** Takes replies (publish commands, link/commands.ts) to what was asked through this gateway in a namespace. */
  takeReplies(namespace: string, packet: Uint8Array): Promise<Applied>;
  /** Publishes a request; returns the reply as one record, or `no-responders`, `timeout` or why the message was refused. */
  request(asked: RemoteRequest): Promise<Uint8Array | Refusal>;
}
