// How much a once store keeps: shared by those of all platforms.

/**
 * Bounds of a once store. What is forgotten is handed out again if it should come again.
 *
 * @example
 * const store = sqliteOnce("orders.db", { maxAgeMs: 30 * 86_400_000, maxKeys: 1_000_000 });
 */
export interface OnceLimits {
  /** A key is forgotten after this time: 7 days by default. Longer than a message can be on its way, dead-letter queue included. */
  maxAgeMs?: number;
  /** Beyond this many keys the oldest is forgotten: 100,000 by default. */
  maxKeys?: number;
}

const MAX_AGE_MS = 7 * 86_400_000;
const MAX_KEYS = 100_000;

/** The bounds with their defaults. */
export function onceLimits({ maxAgeMs = MAX_AGE_MS, maxKeys = MAX_KEYS }: OnceLimits): Required<OnceLimits> {
  return { maxAgeMs, maxKeys };
}
