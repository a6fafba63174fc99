// How a prepared message is to be asked for, when nobody decides over it.
import { parseAddress } from "../address.ts";
import type { Reader } from "../bytes/reader.ts";
import type { Writer } from "../bytes/writer.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { DEFAULT_CHECK_AFTER_MS, DEFAULT_CHECKS } from "../limits.ts";
import type { PublishFields } from "../message/fields.ts";

/** What becomes of a prepared message that nobody decides over: it is asked for some times, then rolled back. */
export interface Preparation {
  /** Name of the queue that gets the questions. */
  checkTo: string;
  /** Wait before the first question, ms; later ones wait longer. */
  checkAfterMs: number;
  /** Questions before it is rolled back. */
  checks: number;
}

/** What the fields of a publish to a queue say of it, undefined when they say nothing. */
export function preparationOf({
  prepare,
  expectSeq,
  producer,
}: Pick<PublishFields, "prepare" | "expectSeq" | "producer">): Preparation | Refusal | undefined {
  if (prepare === undefined) return undefined;
  if (expectSeq !== undefined || producer !== undefined) {
    return refuse(
      "not-supported",
      "a prepared message gets its place when it is decided: no expectSeq, no producer",
    );
  }
  const { checkTo, checkAfterMs = DEFAULT_CHECK_AFTER_MS, checks = DEFAULT_CHECKS } = prepare;
  const address = parseAddress(checkTo);
  if (isRefusal(address)) return refuse("bad-address", `checkTo: ${address.message}`);
  if (address.kind !== "queue") return refuse("not-supported", "checkTo must be queue:NAME");
  return { checkTo: address.name, checkAfterMs, checks };
}

/** Appends it: text16 checkTo, f64 checkAfterMs, u32 checks. PERSISTED in the books of a queue. */
export function writePreparation(to: Writer, { checkTo, checkAfterMs, checks }: Preparation): void {
  to.text16(checkTo);
  to.f64(checkAfterMs);
  to.u32(checks);
}

/** The opposite of writePreparation. */
export function readPreparation(from: Reader): Preparation {
  return { checkTo: from.text16(), checkAfterMs: from.f64(), checks: from.u32() };
}
