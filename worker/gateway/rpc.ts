// What a gateway offers to queues (its sockets come through fetch).

/** Calls on a Gateway. */
export interface GatewayRpc {
  /** Hands deliveries (link/deliveries.ts) of the named queue object to the consumers' connections. */
  deliver(queueObject: string, deliveries: Uint8Array): Promise<void>;
  /** Which of these consumers of the named queue object no longer exist here; `reattach` those that do, and send what they hold. */
  probe(queueObject: string, refs: number[], reattach: boolean): Promise<number[]>;
  /** The queue was deleted: its consumers here are told. */
  queueDeleted(queueObject: string, refs: number[]): Promise<void>;
}
