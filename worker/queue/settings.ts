// A queue's settings: what may be set, within which limits, and what holds when nothing is.
import { checkName } from "../address.ts";
import { type Refusal, refuse } from "../errors.ts";
import {
  DEFAULT_DEDUP_WINDOW_MS,
  DEFAULT_LEASE_MS,
  DEFAULT_MAX_FAILURES,
  MAX_DELAY_MS,
  MAX_LEASE_MS,
  MAX_NAME_BYTES,
  MIN_LEASE_MS,
} from "../limits.ts";
import { type Infer, object } from "../schema.ts";

/** Priorities go from 0 to 9. */
const MAX_LEVELS = 10;
const MAX_COUNT = Number.MAX_SAFE_INTEGER;

/** What `PUT /v1/queues/{name}` takes; absent fields keep their value. */
export const QUEUE_SETTINGS = object(
  {
    leaseMs: { type: "integer", minimum: MIN_LEASE_MS, maximum: MAX_LEASE_MS },
    maxFailures: { type: "integer", minimum: 1, maximum: 10_000 },
    backoff: object(
      {
        kind: { type: "enum", values: ["fixed", "linear", "exponential"] },
        baseMs: { type: "integer", minimum: 0, maximum: MAX_DELAY_MS },
        maxMs: { type: "integer", minimum: 0, maximum: MAX_DELAY_MS },
        jitter: { type: "number", minimum: 0, maximum: 1 },
      },
      [],
    ),
    deadLetterTo: { type: "string", minLength: 1, maxLength: MAX_NAME_BYTES, nullable: true },
    ttlMs: { type: "integer", minimum: 1, maximum: MAX_DELAY_MS, nullable: true },
    maxMessages: { type: "integer", minimum: 1, maximum: MAX_COUNT, nullable: true },
    maxBytes: { type: "integer", minimum: 1, maximum: MAX_COUNT, nullable: true },
    overflow: { type: "enum", values: ["reject", "drop-oldest", "dead-letter"] },
    dedupWindowMs: { type: "integer", minimum: 0, maximum: 7 * 86_400_000 },
    singleActiveConsumer: { type: "boolean" },
    delivery: { type: "enum", values: ["one", "all"] },
    priorities: { type: "integer", minimum: 1, maximum: MAX_LEVELS, boolean: true },
  },
  [],
);

/** The settings a caller gives: any of them. */
export type QueueSettingsPatch = Infer<typeof QUEUE_SETTINGS>;

/** How long a failed message waits: base, base × n or base × 2^(n-1), at most maxMs, less up to `jitter` of it at random. */
export interface Backoff {
  kind: "fixed" | "linear" | "exponential";
  baseMs: number;
  maxMs: number;
  jitter: number;
}

/** The settings in force. */
export interface QueueSettings {
  leaseMs: number;
  maxFailures: number;
  backoff: Backoff;
  /** A queue's name; undefined: the default (`NAME.dead`); null: dead letters are discarded. */
  deadLetterTo: string | null | undefined;
  ttlMs: number | null;
  maxMessages: number | null;
  maxBytes: number | null;
  overflow: "reject" | "drop-oldest" | "dead-letter";
  dedupWindowMs: number;
  /** One consumer gets all messages, and the others stand by. */
  singleActiveConsumer: boolean;
  /** Whether each message goes to one of the consumers, or to all of them until one settles it. */
  delivery: "one" | "all";
  /** How many levels of priority there are; true: as many as there are priorities, false: one. */
  priorities: number | boolean;
  paused: boolean;
}

/** What holds for a queue of which nothing was said. */
export const DEFAULT_SETTINGS: QueueSettings = {
  leaseMs: DEFAULT_LEASE_MS,
  maxFailures: DEFAULT_MAX_FAILURES,
  backoff: { kind: "fixed", baseMs: 0, maxMs: 3_600_000, jitter: 0 },
  deadLetterTo: undefined,
  ttlMs: null,
  maxMessages: null,
  maxBytes: null,
  overflow: "reject",
  dedupWindowMs: DEFAULT_DEDUP_WINDOW_MS,
  singleActiveConsumer: false,
  delivery: "one",
  priorities: true,
  paused: false,
};

/**
 * Why settings do not go together, if they do not.
 *
 * @param selecting how many of the queue's consumers have a selector
 */
export function checkSettings(settings: QueueSettings, selecting: number): Refusal | undefined {
  if (settings.delivery === "one") return undefined;
  if (settings.singleActiveConsumer) {
    return refuse("bad-field", 'delivery "all" and singleActiveConsumer exclude each other');
  }
  return selecting > 0
    ? refuse("conflict", `delivery cannot be "all" while consumers have filters, as ${selecting} have`)
    : undefined;
}

const DEAD_LETTER_ENDING = ".dead";

/** Whether a queue holds dead letters by its name: it then has no dead-letter queue of its own by default. */
export function holdsDeadLetters(queue: string): boolean {
  return queue.endsWith(DEAD_LETTER_ENDING);
}

/** The queue that takes this queue's dead letters, or null when they are discarded. */
export function deadLetterQueue(queue: string, settings: QueueSettings): string | null {
  if (settings.deadLetterTo !== undefined) return settings.deadLetterTo;
  return holdsDeadLetters(queue) ? null : `${queue}${DEAD_LETTER_ENDING}`;
}

/** The settings after a change. */
export function applySettings(settings: QueueSettings, patch: QueueSettingsPatch): QueueSettings {
  const { backoff = {}, ...rest } = patch;
  const given = known(rest, QUEUE_SETTINGS.fields);
  return {
    ...settings,
    ...given,
    backoff: { ...settings.backoff, ...known(backoff, QUEUE_SETTINGS.fields.backoff.fields) },
  };
}

/** The fields that there are: whatever else a caller names is not kept. */
function known<T extends object>(given: T, fields: object): Partial<T> {
  const entries = Object.entries(given);
  return Object.fromEntries(
    entries.filter(([name, value]) => value !== undefined && Object.hasOwn(fields, name)),
  ) as Partial<T>;
}

/** Settings as they were stored; those that are newer than the store have their defaults. */
export function readSettings(text: string): QueueSettings {
  return { ...DEFAULT_SETTINGS, ...(JSON.parse(text) as Partial<QueueSettings>) };
}

/** The level that a message's priority comes to, 0 the lowest; a priority beyond the levels counts as the highest. */
export function levelOf({ priorities }: QueueSettings, priority: number): number {
  const levels = priorities === true ? MAX_LEVELS : Number(priorities);
  return Math.max(0, Math.min(priority, levels - 1));
}

/** Why settings may not be changed so, if they may not. */
export function checkPatch(
  queue: string,
  settings: QueueSettings,
  patch: QueueSettingsPatch,
): Refusal | undefined {
  const target = patch.deadLetterTo;
  if (target === queue) return refuse("bad-field", "deadLetterTo must be another queue");
  const wrong = typeof target === "string" ? checkName(target) : undefined;
  if (wrong !== undefined) return refuse("bad-field", `deadLetterTo: ${wrong.message}`);
  return checkSettings(applySettings(settings, patch), 0);
}
