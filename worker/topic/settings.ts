// A topic's settings: what may be set, within which limits, and what holds when nothing is.
import { DEFAULT_DEDUP_WINDOW_MS, MAX_DELAY_MS } from "../limits.ts";
import { type Infer, object } from "../schema.ts";

const MAX_COUNT = Number.MAX_SAFE_INTEGER;

/** What `PUT /v1/topics/{name}` takes; absent fields keep their value. */
export const TOPIC_SETTINGS = object(
  {
    retention: object(
      {
        maxAgeMs: { type: "integer", minimum: 1, maximum: 10 * MAX_DELAY_MS, nullable: true },
        maxMessages: { type: "integer", minimum: 1, maximum: MAX_COUNT, nullable: true },
        maxBytes: { type: "integer", minimum: 1, maximum: MAX_COUNT, nullable: true },
      },
      [],
    ),
    compact: { type: "boolean" },
    dedupWindowMs: { type: "integer", minimum: 0, maximum: 7 * 86_400_000 },
  },
  [],
);

/** The settings a caller gives: any of them. */
export type TopicSettingsPatch = Infer<typeof TOPIC_SETTINGS>;

/** How far back a topic's history reaches. null: no limit of this kind; all three null: no history. */
export interface Retention {
  maxAgeMs: number | null;
  maxMessages: number | null;
  maxBytes: number | null;
}

/** The settings in force. */
export interface TopicSettings {
  retention: Retention;
  /** Of messages with the same group, history keeps only the last. */
  compact: boolean;
  dedupWindowMs: number;
}

/** What holds for a topic of which nothing was said. */
export const DEFAULT_TOPIC_SETTINGS: TopicSettings = {
  retention: { maxAgeMs: null, maxMessages: null, maxBytes: null },
  compact: false,
  dedupWindowMs: DEFAULT_DEDUP_WINDOW_MS,
};

/** Whether a topic keeps a history. */
export function keepsHistory({ retention }: TopicSettings): boolean {
  return retention.maxAgeMs !== null || retention.maxMessages !== null || retention.maxBytes !== null;
}

/** The settings after a change. */
export function applyTopicSettings(settings: TopicSettings, patch: TopicSettingsPatch): TopicSettings {
  return {
    retention: {
      maxAgeMs: either(patch.retention?.maxAgeMs, settings.retention.maxAgeMs),
      maxMessages: either(patch.retention?.maxMessages, settings.retention.maxMessages),
      maxBytes: either(patch.retention?.maxBytes, settings.retention.maxBytes),
    },
    compact: patch.compact ?? settings.compact,
    dedupWindowMs: patch.dedupWindowMs ?? settings.dedupWindowMs,
  };
}

function either(given: number | null | undefined, present: number | null): number | null {
  return given === undefined ? present : given;
}
