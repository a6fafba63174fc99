// Where rows of a queue's outbox go.
import type { Address } from "../address.ts";

/* PERSISTED as `target` of an outbox row: a queue's name, or NUL and `topic:NAME`. No queue's name holds NUL. */
const TOPIC = "\0topic:";

/** The target of an outbox row. */
export function outboxTarget({ kind, name }: Address): string {
  return kind === "queue" ? name : TOPIC + name;
}

/**
 * Rows of one lane leave in their order: a queue's name, or "" for all topics, as those that share an object share the last id that it
 * took from here.
 */
export function laneOf(target: string): string {
  return target.startsWith(TOPIC) ? "" : target;
}

/** The opposite of outboxTarget. */
export function destinationOf(target: string): Address {
  return target.startsWith(TOPIC)
    ? { kind: "topic", name: target.slice(TOPIC.length) }
    : { kind: "queue", name: target };
}
