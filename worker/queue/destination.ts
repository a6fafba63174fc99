// Where rows of a queue's outbox go, and what they ask for there.
import type { Address } from "../address.ts";
import { decodeText } from "../bytes/reader.ts";

/* PERSISTED as `target` of an outbox row. No queue's name holds NUL, so a name alone is told from the others:
 *
 *   NAME              records, moved to that queue: dead letters
 *   NUL topic:NAME    records, published to that topic
 *   NUL publish:NAME  records, published to that queue: its dedup window counts
 *   NUL conclude:NAME text: a transaction that this queue has committed, and in which that queue holds leases
 *   NUL ask:NAME      text: a transaction that that queue decides, and in which this one holds leases
 */
const KINDS = ["topic", "publish", "conclude", "ask"] as const;
const TARGET = /^\0([a-z]+):(.*)$/s;
const encoder = new TextEncoder();

/** What is asked for: `move` takes records as they are, `publish` as if a client had published them. */
export interface Destination {
  kind: "move" | (typeof KINDS)[number];
  /** Of the topic, for `topic`; of the queue otherwise. */
  name: string;
}

/** The target of an outbox row. */
export function outboxTarget({ kind, name }: Destination): string {
  return kind === "move" ? name : `\0${kind}:${name}`;
}

/** The target of messages that go to an address as they are: a queue takes them whatever its limits and its dedup window say. */
export function moveTarget({ kind, name }: Address): string {
  return outboxTarget({ kind: kind === "queue" ? "move" : "topic", name });
}

/** The target of what is published to an address. */
export function publishTarget({ kind, name }: Address): string {
  return outboxTarget({ kind: kind === "queue" ? "publish" : "topic", name });
}

/** The opposite of outboxTarget. */
export function destinationOf(target: string): Destination {
  const [, word, name] = TARGET.exec(target) ?? [];
  const kind = KINDS.find((known) => known === word);
  return kind === undefined || name === undefined ? { kind: "move", name: target } : { kind, name };
}

/** The data of a row about a transaction. */
export function transactionData(tx: string): Uint8Array {
  return encoder.encode(tx);
}

/** The opposite of transactionData. */
export function transactionIn(data: Uint8Array): string {
  return decodeText(data, 0, data.length);
}
