// Which of a site's tabs sends: the one that holds a Web Lock, which the browser gives on when the tab is gone. Where there are none, a
// row in the database that its owner must keep renewing. Two tabs that both think so would send the same under the same numbers.
import type { OutboxStore } from "./outbox-store.ts";

/** The part of `navigator.locks` that is used. */
export interface Locks {
  request(name: string, options: { signal: AbortSignal }, work: () => Promise<void>): Promise<void>;
}

const LEASE_MS = 10_000;
/** Often enough that one that comes late is still in time. */
const RENEW_MS = 3_000;

/**
 * Does some work while this tab has the lead, as soon as it gets it. Ends when the work does, or by the signal.
 *
 * @param work ends soon after its signal
 */
export async function lead(
  name: string,
  {
    locks,
    store,
    tab,
    signal,
  }: { locks: Locks | undefined; store: OutboxStore; tab: string; signal: AbortSignal },
  work: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  if (!locks) return leadByLease(store, tab, signal, work);
  try {
    await locks.request(`dunlin-outbox:${name}`, { signal }, () => work(signal));
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

async function leadByLease(
  store: OutboxStore,
  tab: string,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const renew = () => store.lease(tab, Date.now(), Date.now() + LEASE_MS);
  while (!signal.aborted) {
    if (!(await renew())) {
      await pause(RENEW_MS, signal);
      continue;
    }
    const lost = new AbortController();
    const timer = setInterval(() => {
      renew().then(
        (isHeld) => isHeld || lost.abort(),
        () => lost.abort(),
      );
    }, RENEW_MS);
    try {
      await work(AbortSignal.any([signal, lost.signal]));
    } finally {
      clearInterval(timer);
      if (!lost.signal.aborted) await store.lease(tab, Date.now(), 0);
    }
    if (!lost.signal.aborted) return;
  }
}

/** Waits for a time, or less if the signal comes. */
export function pause(ms: number | undefined, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = ms === undefined ? undefined : setTimeout(end, ms);
    signal.addEventListener("abort", end);
  });
}
