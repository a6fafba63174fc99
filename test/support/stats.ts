// Reads a queue's figures over HTTP and waits for them; knows the equation they must satisfy after every command.

const ANSWER_MS = 10_000;

/** A queue's figures, as GET /v1/queues/{name} answers them. */
export interface QueueStats {
  ready: number;
  delayed: number;
  leased: number;
  deadLettered: number;
  accepted: number;
  settled: number;
  expired: number;
  bytes: number;
  oldestReadyMs: number;
  consumers: number;
  rowsWritten: number;
}

/** Reads the figures of a queue, and throws unless they add up. */
export async function readStats(url: string, queue: string): Promise<QueueStats> {
  const signal = AbortSignal.timeout(ANSWER_MS);
  const response = await fetch(`${url}/v1/queues/${encodeURIComponent(queue)}`, { signal });
  const text = await response.text();
  if (!response.ok) throw new Error(`stats of ${queue} were answered ${response.status}: ${text}`);
  const { stats } = JSON.parse(text) as { stats: QueueStats };
  const { accepted, ready, delayed, leased, settled, expired, deadLettered } = stats;
  if (accepted !== ready + delayed + leased + settled + expired + deadLettered) {
    throw new Error(`the figures of ${queue} do not add up: ${JSON.stringify(stats)}`);
  }
  return stats;
}

/**
 * Reads the figures until they are as wanted.
 *
 * @throws Error with the last figures when that takes longer than `timeoutMs`
 */
export async function waitForStats(
  url: string,
  queue: string,
  wanted: (stats: QueueStats) => boolean,
  timeoutMs = 30_000,
): Promise<QueueStats> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const stats = await readStats(url, queue);
    if (wanted(stats)) return stats;
    if (Date.now() > deadline) {
      throw new Error(`${queue} is not as wanted after ${timeoutMs} ms: ${JSON.stringify(stats)}`);
    }
    await new Promise((retry) => setTimeout(retry, 50));
  }
}
