// What a gateway offers to queues and Topic objects (its sockets come through fetch).

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
}
