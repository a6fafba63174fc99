// A once store in a key-value service such as Workers KV: the weakest of them, for where there is nothing else.
import type { OnceStore } from "./once.ts";

/** What it needs of a KV namespace. */
export interface KvNamespace {
  get(key: string): Promise<string | null>;
  put(key: string, value: string, options: { expirationTtl: number }): Promise<void>;
}

const TTL_SECONDS = 7 * 86_400;

/**
 * Remembers finished messages in a KV namespace, each as a key that expires by itself; the number of keys is bounded by the service.
 *
 * It is weak: KV may need a minute until another place sees what was written, and it has no transactions. So a message that comes
 * again at once to another place is handed out again, and there is no `run`. A Durable Object has neither weakness.
 *
 * @param options.ttlSeconds how long a key is kept: 7 days by default, at least 60
 * @example
 * const once = kvOnce(env.FINISHED);
 * for await (const message of dunlin.queue("mails").consume({ once })) await message.ack();
 */
export function kvOnce(kv: KvNamespace, options: { ttlSeconds?: number } = {}): OnceStore {
  const expirationTtl = options.ttlSeconds ?? TTL_SECONDS;
  /** This isolate sees what it writes at once. Bounded by what is under way. */
  const adding = new Set<string>();
  return {
    async has(key) {
      const name = await nameOf(key);
      return adding.has(name) || (await kv.get(name)) !== null;
    },
    async add(key) {
      const name = await nameOf(key);
      adding.add(name);
      try {
        await kv.put(name, "1", { expirationTtl });
      } finally {
        adding.delete(name);
      }
    },
  };
}

/** Names of KV have at most 512 bytes, which an address alone may have. */
async function nameOf(key: string): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(key));
  return `dunlin-once:${Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
