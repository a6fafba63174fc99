// Where to begin in a topic's history, as a URL says it.
import { type Refusal, refuse } from "../errors.ts";
import type { From } from "../topic/rpc.ts";

const NUMBER = /^\d{1,15}$/;

/**
 * Reads `first`, `last`, `new`, `SEQ` (what follows that message), `time:MS` (since the epoch) or `last:COUNT`.
 *
 * @returns the place; `bad-field` for any other text
 * @example parseFrom("41") // { seq: 41 }: from message 42 on
 * @example parseFrom("last:10") // { last: 10 }
 */
export function parseFrom(text: string): From | Refusal {
  if (text === "first" || text === "last" || text === "new") return text;
  if (NUMBER.test(text)) return { seq: Number(text) };
  const colon = text.indexOf(":");
  const number = text.slice(colon + 1);
  if (NUMBER.test(number)) {
    if (text.startsWith("time:")) return { time: Number(number) };
    if (text.startsWith("last:") && Number(number) > 0) return { last: Number(number) };
  }
  const shown = JSON.stringify(text.slice(0, 60));
  return refuse("bad-field", `from must be first, last, new, a seq, time:MS or last:COUNT, got ${shown}`);
}

/**
 * Reads the id of an event: `EPOCH:SEQ`.
 *
 * @returns the place; undefined for any other text
 */
export function parseEventId(text: string): { epoch: number; seq: number } | undefined {
  const [epoch = "", seq = "", ...more] = text.split(":");
  if (more.length > 0 || !NUMBER.test(epoch) || !NUMBER.test(seq)) return undefined;
  return { epoch: Number(epoch), seq: Number(seq) };
}
