// What it takes to hand a message out once though its ack was lost: a memory of what is finished.

/**
 * Remembers which messages are finished, so that a redelivery after a lost ack does no harm. For
 * {@link ConsumeOptions.once}; ready-made ones are `indexedDbOnce`, `durableObjectOnce`, `kvOnce`, `sqliteOnce` and `fileOnce`.
 *
 * @example
 * const finished = new Set<string>(); // forgotten with the page
 * const store: OnceStore = { has: async (key) => finished.has(key), add: async (key) => void finished.add(key) };
 */
export interface OnceStore {
  /** Whether the key was added; what is being added counts, or is waited for. */
  has(key: string): Promise<boolean>;
  /** Resolves once the key is safely kept. To add one twice changes nothing. */
  add(key: string): Promise<void>;
}

/**
 * The key of a message in a {@link OnceStore}: its address and message id, which it keeps when it is redelivered, redriven from a
 * dead-letter queue, or sent again by its publisher.
 *
 * @example
 * await store.run(onceKey(message), (tx) => tx.put("orders", message.body));
 */
export function onceKey({ to, messageId }: { to: string; messageId: string }): string {
  return JSON.stringify([to, messageId]);
}
