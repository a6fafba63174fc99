// What a backlog knows by heart of each record in its log: size, time of expiry, and its place in its row.

const CHUNK = 1_024;

class Chunk {
  readonly sizes = new Uint32Array(CHUNK);
  readonly places = new Uint16Array(CHUNK);
  expiries: Float64Array | undefined;
  /** The earliest expiry that the last sweep left. */
  earliest = Number.POSITIVE_INFINITY;
  live = 0;
}

/** The records of the log by their position, which numbers them without gaps but for a few. */
export class RecordTable {
  readonly #chunks = new Map<number, Chunk>();
  /** Bytes of all records. */
  bytes = 0;
  count = 0;
  /** No record expires before this that the last sweep has not seen; Infinity when none does. */
  earliestExpiry = Number.POSITIVE_INFINITY;

  /** Adds a record. `place` is its index in its row; `expiresAt` is ms since the epoch, 0 for never. */
  add(position: number, size: number, expiresAt: number, place: number): void {
    const number = Math.floor(position / CHUNK);
    let chunk = this.#chunks.get(number);
    if (chunk === undefined) {
      chunk = new Chunk();
      this.#chunks.set(number, chunk);
    }
    const at = position % CHUNK;
    chunk.sizes[at] = size;
    chunk.places[at] = place;
    if (expiresAt > 0) {
      chunk.expiries ??= new Float64Array(CHUNK);
      chunk.expiries[at] = expiresAt;
      chunk.earliest = Math.min(chunk.earliest, expiresAt);
      this.earliestExpiry = Math.min(this.earliestExpiry, expiresAt);
    }
    chunk.live++;
    this.bytes += size;
    this.count++;
  }

  /** Bytes of a record, 0 when it is not in the log. */
  size(position: number): number {
    return this.#chunks.get(Math.floor(position / CHUNK))?.sizes[position % CHUNK] ?? 0;
  }

  /** When a record expires, ms since the epoch; 0 for never. */
  expiresAt(position: number): number {
    return this.#chunks.get(Math.floor(position / CHUNK))?.expiries?.[position % CHUNK] ?? 0;
  }

  /** The record's index in its row. */
  place(position: number): number {
    return this.#chunks.get(Math.floor(position / CHUNK))?.places[position % CHUNK] ?? 0;
  }

  /** Whether the record's time has passed. */
  expired(position: number, now: number): boolean {
    const expiresAt = this.expiresAt(position);
    return expiresAt > 0 && expiresAt <= now;
  }

  /** Removes the records of a stretch. */
  drop(from: number, to: number): void {
    for (let number = Math.floor(from / CHUNK); number * CHUNK < to; number++) {
      const chunk = this.#chunks.get(number);
      if (chunk === undefined) continue;
      const start = Math.max(from - number * CHUNK, 0);
      const end = Math.min(to - number * CHUNK, CHUNK);
      for (let at = start; at < end; at++) this.#remove(chunk, at);
      if (chunk.live === 0) this.#chunks.delete(number);
    }
  }

  /** The records there are, rising. */
  *positions(): Generator<number> {
    for (const number of [...this.#chunks.keys()].sort((a, b) => a - b)) {
      const { sizes } = this.#chunks.get(number)!;
      for (let at = 0; at < CHUNK; at++) if (sizes[at]! > 0) yield number * CHUNK + at;
    }
  }

  /** The stretch of the log whose records may have expired since the last sweep: from, up to. */
  sweep(now: number): [from: number, to: number] {
    let [from, to] = [Number.POSITIVE_INFINITY, 0];
    this.earliestExpiry = Number.POSITIVE_INFINITY;
    for (const [number, chunk] of this.#chunks) {
      if (chunk.earliest <= now) {
        from = Math.min(from, number * CHUNK);
        to = Math.max(to, (number + 1) * CHUNK);
        chunk.earliest = earliestAfter(chunk.expiries!, now);
      }
      this.earliestExpiry = Math.min(this.earliestExpiry, chunk.earliest);
    }
    return [from, to];
  }

  #remove(chunk: Chunk, at: number): void {
    const size = chunk.sizes[at]!;
    if (size === 0) return;
    chunk.sizes[at] = 0;
    if (chunk.expiries !== undefined) chunk.expiries[at] = 0;
    chunk.live--;
    this.bytes -= size;
    this.count--;
  }
}

function earliestAfter(expiries: Float64Array, now: number): number {
  let earliest = Number.POSITIVE_INFINITY;
  for (const time of expiries) if (time > now && time < earliest) earliest = time;
  return earliest;
}
