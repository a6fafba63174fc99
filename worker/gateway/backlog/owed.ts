// What a session is owed at QoS 1 or 2, and what is handed to its protocol to send.

/** How one subscriber gets a message: what its subscriptions ask for. */
export interface Options {
  qos: 1 | 2;
  /** The RETAIN flag that the subscriber gets. */
  retain: boolean;
  /** Subscription identifiers, in the order they are sent; empty when the client gave none. */
  subscriptionIds: readonly number[];
}

/** A message that a session is owed. */
export interface Owed extends Options {
  /** Where the log holds its record (`Backlog.keep`); 0: not kept, sent live to a session that ends with its socket. */
  position: number;
}

/** A message to send now. */
export interface ToSend extends Owed {
  packetId: number;
  /** Whether it was sent before. */
  dup: boolean;
}

/** A PUBREL to send again. */
export interface ToRelease {
  packetId: number;
  release: true;
}
