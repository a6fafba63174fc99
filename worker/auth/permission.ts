// Whether a principal may do something to an address. What the addresses mean is others' business.
import { isReplyTopic } from "../address.ts";
import { type Refusal, refuse } from "../errors.ts";
import type { Action, Principal } from "./principal.ts";

const TOPIC = "topic:";

/**
 * Refuses what no permission of the principal allows.
 *
 * @param address `queue:NAME`, `topic:NAME`, a topic filter, or `*` for what concerns the whole namespace
 * @example const refusal = permits(principal, "publish", "queue:orders"); if (refusal) return problem(refusal);
 */
export function permits(principal: Principal, action: Action, address: string): Refusal | undefined {
  if (address.startsWith(TOPIC) && isReplyTopic(address.slice(TOPIC.length))) {
    // Its token is the permission to reply, and what is published to it is kept for nobody.
    return action === "publish"
      ? undefined
      : refuse("forbidden", "a reply goes to who asked, and nowhere else");
  }
  if (principal.allow === "everything") return undefined;
  for (const { do: actions, on } of principal.allow) {
    if (actions.includes(action) && covers(on, address)) return undefined;
  }
  return refuse("forbidden", `the token does not allow ${action} on ${JSON.stringify(address)}`);
}

/**
 * Whether a pattern covers an address, level by level: `+` covers one level, `#` the rest and the level above it. A name
 * that begins with `$` needs a pattern that does. A filter is covered only if all it can match is.
 */
function covers(on: string, address: string): boolean {
  if (on === "*" || on === address) return true;
  const colon = on.indexOf(":") + 1;
  if (address.slice(0, colon) !== on.slice(0, colon)) return false;
  const patterns = on.slice(colon).split("/");
  const levels = address.slice(colon).split("/");
  if (levels[0]!.startsWith("$") && !patterns[0]!.startsWith("$")) return false;
  for (const [index, pattern] of patterns.entries()) {
    if (pattern === "#") return true;
    const level = levels[index];
    if (level === undefined || level === "#") return false;
    if (pattern !== "+" && pattern !== level) return false;
  }
  return patterns.length === levels.length;
}
