// How large a stored row is, and how large the platform lets it be.
import type { SqlValue } from "../../worker/log/sql.ts";

/** A Durable Object's SQLite refuses rows (and values) beyond this. */
export const MAX_STORED_ROW_BYTES = 2_000_000;

/** Bytes of the values that a statement binds: for an INSERT, nearly those of its row. */
export function rowBytes(values: readonly SqlValue[]): number {
  let bytes = 0;
  for (const value of values) {
    if (value instanceof Uint8Array || typeof value === "string") bytes += value.length;
    else if (value !== null) bytes += 9;
  }
  return bytes;
}
