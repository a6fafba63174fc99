// Topic filters as MQTT defines them (4.7, 4.8.2): which text is one, what a filter matches, and how `$share/…` reads.
import { type Refusal, refuse } from "../errors.ts";
import { MAX_NAME_BYTES } from "../limits.ts";

/** What stands before the group of a shared subscription. */
export const SHARE_PREFIX = "$share/";

const SLASH = 0x2f;
const PLUS = 0x2b;
const HASH = 0x23;
const DOLLAR = 0x24;
const encoder = new TextEncoder();

/**
 * Refuses what is no topic filter.
 *
 * @returns `bad-address` with what is wrong, or undefined
 * @example checkFilter("home/+/temperature") // undefined
 * @example checkFilter("home/#/temperature") // bad-address: # stands only as the last level of a filter, …
 */
export function checkFilter(text: string): Refusal | undefined {
  // A UTF-16 unit is at most three bytes of UTF-8, so most filters need no encoding to be measured.
  const bytes = text.length * 3 <= MAX_NAME_BYTES ? text.length : encoder.encode(text).length;
  // [MQTT-4.7.3-1] [MQTT-4.7.3-3]
  if (bytes < 1 || bytes > MAX_NAME_BYTES) {
    return refuse("bad-address", `a topic filter has 1 to ${MAX_NAME_BYTES} bytes, got ${bytes}`);
  }
  // [MQTT-4.7.3-2] [MQTT-1.5.4-1]
  if (text.includes("\0") || !text.isWellFormed()) {
    return refuse("bad-address", `a topic filter is well-formed UTF-8 without NUL, got ${shown(text)}`);
  }
  return isExact(text) ? undefined : checkWildcards(text);
}

/** Whether a filter has no wildcard, so that it matches just the topic of its name. */
export function isExact(filter: string): boolean {
  return !filter.includes("+") && !filter.includes("#");
}

/**
 * Whether a filter matches a topic. Levels are compared as they are, character by character [MQTT-4.7.3-4]; an empty level is
 * a level.
 *
 * @param filter what `checkFilter` let pass
 * @param topic a topic's name, without wildcards
 * @example matches("a/#", "a") // true
 * @example matches("+/status", "$SYS/status") // false
 */
export function matches(filter: string, topic: string): boolean {
  // [MQTT-4.7.2-1]
  if (topic.charCodeAt(0) === DOLLAR && filter.charCodeAt(0) !== DOLLAR) return false;
  let at = 0;
  for (let index = 0; index < filter.length; index += 1) {
    const unit = filter.charCodeAt(index);
    // [MQTT-4.7.1-1] `#` is the parent level and everything below: the filter's `/` before it may lack its like in the topic.
    if (unit === HASH) return true;
    if (at === topic.length && unit === SLASH) return filter.charCodeAt(index + 1) === HASH;
    if (unit === PLUS) {
      while (at < topic.length && topic.charCodeAt(at) !== SLASH) at += 1;
    } else {
      if (at === topic.length || topic.charCodeAt(at) !== unit) return false;
      at += 1;
    }
  }
  return at === topic.length;
}

/** A shared subscription: the members of a group divide among them what the filter matches. */
export interface Share {
  group: string;
  filter: string;
}

/**
 * Reads a shared subscription.
 *
 * @returns the share, `bad-address` when it is none for all its prefix, undefined when the text is another filter
 * @example parseShare("$share/workers/jobs/+") // { group: "workers", filter: "jobs/+" }
 * @example parseShare("jobs/+") // undefined
 */
export function parseShare(text: string): Share | Refusal | undefined {
  if (!text.startsWith(SHARE_PREFIX)) return undefined;
  const slash = text.indexOf("/", SHARE_PREFIX.length);
  const group = text.slice(SHARE_PREFIX.length, slash < 0 ? undefined : slash);
  // [MQTT-4.8.2-1] [MQTT-4.8.2-2]
  if (slash < 0 || group === "" || !isExact(group)) {
    return refuse(
      "bad-address",
      `a shared subscription is $share/GROUP/FILTER, GROUP without / + #, got ${shown(text)}`,
    );
  }
  const filter = text.slice(slash + 1);
  // The whole text is the name of the queue behind the share, so it has the length of a name.
  return checkFilter(filter) ?? checkFilter(text) ?? { group, filter };
}

function checkWildcards(text: string): Refusal | undefined {
  const levels = text.split("/");
  for (const [index, level] of levels.entries()) {
    if (isExact(level)) continue;
    // [MQTT-4.7.1-1]
    if (level.includes("#") && (level !== "#" || index !== levels.length - 1)) {
      return refuse("bad-address", `# stands only as the last level of a filter, got ${shown(text)}`);
    }
    // [MQTT-4.7.1-2]
    if (level.includes("+") && level !== "+") {
      return refuse("bad-address", `+ stands for one whole level of a filter, got ${shown(text)}`);
    }
  }
  return undefined;
}

function shown(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}
