// The faults that can be planted, and what each of them breaks. worker/faults.ts plants them.

/** What can go wrong with an operation. */
export type Breach = "lost" | "duplicated" | "reordered" | "resurrected" | "unfenced";

/** By name: what it breaks, and in which words. */
export const FAULTS = {
  "confirm-before-durable": {
    breaks: ["lost", "resurrected", "unfenced", "duplicated"],
    what: "the last row that a queue wrote before it died is not on disk",
  },
  "given-back-lost": { breaks: ["lost"], what: "a message that was given back is gone" },
  "settle-not-written": { breaks: ["resurrected"], what: "a settle is confirmed and forgotten by a restart" },
  "ack-ignored": { breaks: ["resurrected"], what: "an ack is confirmed and the message is ready again" },
  "dedup-forgets": { breaks: ["duplicated"], what: "every other known message id is stored again" },
  "dedup-not-loaded": { breaks: ["duplicated"], what: "message ids from before a restart are not known" },
  "dedup-by-clock": {
    breaks: ["duplicated"],
    what: "the dedup window ends early when the clock is stepped forward",
  },
  "topic-dedup-forgets": { breaks: ["duplicated"], what: "a topic stores a known message id again" },
  "stale-handle": { breaks: ["unfenced"], what: "a settle with a handle that was lost is confirmed" },
  "two-leases": { breaks: ["duplicated", "unfenced"], what: "one message goes to two consumers at once" },
  "lease-cut-short": { breaks: ["unfenced", "duplicated"], what: "a lease ends long before its time" },
  "group-ignored": { breaks: ["reordered", "unfenced"], what: "messages of a group go out side by side" },
  "delayed-lost": { breaks: ["lost"], what: "delayed messages are gone after a restart" },
  "transfer-again": {
    breaks: ["duplicated"],
    what: "what a topic or queue hands to a queue is taken again when it comes again",
  },
  "topic-packet-dropped": { breaks: ["lost"], what: "a gateway confirms a packet that it did not keep" },
  "topic-packet-swapped": { breaks: ["reordered"], what: "packets of a topic overtake each other" },
  "topic-packet-again": {
    breaks: ["duplicated", "reordered"],
    what: "a packet that a gateway has taken is taken again",
  },
  "qos2-id-forgotten": {
    breaks: ["duplicated"],
    what: "a repeated PUBLISH of QoS 2 counts as another message",
  },
  "commit-half": {
    moves: true,
    breaks: ["lost", "duplicated"],
    what: "a commit settles and does not publish, or publishes and does not settle",
  },
  "commit-again": { moves: true, breaks: ["duplicated"], what: "a repeated commit publishes again" },
  "fence-ignored": { moves: true, breaks: ["unfenced"], what: "a producer's former life still publishes" },
  "sequence-forgets": {
    moves: true,
    breaks: ["duplicated"],
    what: "a known number of a producer is stored again",
  },
} as const satisfies Record<string, { breaks: readonly Breach[]; what: string; moves?: true }>;

export type FaultName = keyof typeof FAULTS;
