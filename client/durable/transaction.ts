// One transaction of IndexedDB: all of it or nothing, and on disk when it is done.

/** Asks the browser to wait for the disk, and not only for the system's word. */
export const STRICT = { durability: "strict" } as const;

/** A transaction as `idb` gives it. */
interface Transaction {
  readonly done: Promise<void>;
  abort(): void;
}

/**
 * Does some work in a transaction and waits for its end. When the work fails, nothing of it is kept: without this, IndexedDB would keep
 * what had been asked for until then.
 */
export async function inTransaction<Tx extends Transaction, Result>(
  tx: Tx,
  work: (tx: Tx) => Promise<Result>,
): Promise<Result> {
  const { done } = tx;
  // Told below, whichever fails first.
  done.catch(() => {});
  try {
    const result = await work(tx);
    await done;
    return result;
  } catch (error) {
    try {
      tx.abort();
    } catch {
      // It has ended by itself, with the error that is told.
    }
    throw error;
  }
}
