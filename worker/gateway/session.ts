// What a client has at its gateway: a session that may outlive its connection, and the session's subscriptions.
import type { Address } from "../address.ts";
import type { Principal } from "../auth/principal.ts";
import type { Connection } from "./connection.ts";

/** A client's session. */
export interface Session {
  readonly id: string;
  readonly namespace: string;
  /** Stable over reconnects when the client chose it. */
  readonly client: string;
  principal: Principal;
  /** How long it outlives its connection, seconds; 0: it ends with it. */
  expirySeconds: number;
  connection: Connection | undefined;
  /** When it ends without a connection, ms since the epoch; Infinity while it has one. */
  endsAt: number;
  /** By the number that the client gave each. */
  readonly subscriptions: Map<number, Subscription>;
}

/** One subscription of a session to a queue. */
export interface Subscription {
  /** What the queue knows it by: random, so that no two of any gateway are the same. */
  readonly ref: number;
  /** What the client knows it by. */
  readonly sub: number;
  readonly session: Session;
  readonly address: Address;
  /** Name of the queue's object. */
  readonly target: string;
  credit: number;
  leaseMs: number | undefined;
  /** Rises whenever its queue is asked to send again what it holds. */
  generation: number;
}

/** The key of a client's session: unique over all namespaces of a gateway. */
export function sessionKey(namespace: string, client: string): string {
  return `${namespace}:${client}`;
}
