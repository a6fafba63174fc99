// When a cron expression next comes true in a time zone (croner: docs/decisions/0008-dependencies.md).
import { Cron } from "croner";

/** Compiled expressions kept at most: those of one queue, and more. */
const MAX_COMPILED = 1_000;

const compiled = new Map<string, Cron>();

/**
 * What is wrong with a cron expression, if anything.
 *
 * @param cron five fields, six with seconds first, seven with years last; or `@daily` and its like
 * @param timeZone an IANA name, such as `Europe/Zurich`
 * @example checkCron("0 9 * * MON-FRI", "Europe/Zurich") // undefined
 */
export function checkCron(cron: string, timeZone: string): string | undefined {
  try {
    compile(cron, timeZone).nextRun(new Date(0));
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** The first time after `after` at which the expression is true, ms since the epoch; Infinity when it never will be. */
export function nextRun(cron: string, timeZone: string, after: number): number {
  return compile(cron, timeZone).nextRun(new Date(after))?.getTime() ?? Number.POSITIVE_INFINITY;
}

function compile(cron: string, timeZone: string): Cron {
  const key = `${timeZone} ${cron}`;
  let known = compiled.get(key);
  if (known === undefined) {
    known = new Cron(cron, { timezone: timeZone });
    if (compiled.size >= MAX_COMPILED) compiled.delete(compiled.keys().next().value!);
    compiled.set(key, known);
  }
  return known;
}
