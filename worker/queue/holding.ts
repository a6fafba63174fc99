// The part of a queue in a commit that another queue decides: its leases are held, then settled, or given their time back.
import { type Refusal, refuse } from "../errors.ts";
import { HOLD_MS, MAX_HELD } from "../limits.ts";
import { type HoldRequest, isSameCommit } from "../link/commit.ts";
import type { QueueResult } from "../link/results.ts";
import { outboxTarget, transactionData } from "./destination.ts";
import { EVERYONE } from "./everyone.ts";
import { fail } from "./failures.ts";
import type { Held, Hold } from "./holds.ts";
import { leasedBy, NOBODY, settle } from "./settle.ts";
import type { Timed } from "./timers.ts";
import type { Turn } from "./turn.ts";

/** The end of a lease that is held: none. The hold knows the true one. */
const NEVER = Number.MAX_SAFE_INTEGER;

/** Holds all the leases that a transaction names, or none of them. */
export function hold(turn: Turn, { tx, decider, settlements }: HoldRequest): QueueResult {
  const { ledger, now } = turn;
  const { holds } = ledger;
  // The call came twice, as its answer was lost.
  if (holds.get(tx) !== undefined) return { type: "settled", settled: settlements.map(() => true) };
  const earlier = settlements
    .map(({ position }) => holds.holderOf(position))
    .find((holder) => holder !== undefined && isSameCommit(holder.tx, tx));
  if (earlier !== undefined) {
    // Its caller is gone, most likely: the next attempt should not have to wait for it.
    ask(turn, earlier);
    return refused(refuse("unavailable", "an earlier attempt of this commit is not decided yet; repeat it"));
  }
  const entries = settlements.map((settlement) => leasedBy(turn, settlement));
  const settled = entries.map((entry) => entry !== undefined);
  if (settled.includes(false)) return { type: "settled", settled };
  if (holds.size + settlements.length > MAX_HELD) {
    return refused(refuse("too-many", `commits hold at most ${MAX_HELD} deliveries of one queue`, 1_000));
  }
  const held = entries.map((entry, at): Held => {
    const { deadline } = entry!;
    ledger.extend(entry!, NEVER);
    return { settlement: settlements[at]!, deadline };
  });
  holds.hold({ tx, decider, askAt: now + HOLD_MS, held });
  return { type: "settled", settled };
}

/** Ends a hold: settles what it holds, or lets the leases go on as if nothing had been. */
export function conclude(turn: Turn, tx: string, committed: boolean): void {
  const { holds } = turn.ledger;
  const known = holds.get(tx);
  if (known === undefined) return;
  holds.end(tx);
  for (const held of known.held) {
    if (committed) settle(turn, held.settlement, NOBODY);
    else letGo(turn, held);
  }
}

function letGo(turn: Turn, { settlement, deadline }: Held): void {
  const { ledger, now } = turn;
  const entry = leasedBy(turn, settlement)!;
  // Its consumer has gone meanwhile; an HTTP call (negative) holds its leases without being there.
  const { consumers } = ledger;
  const left = entry.ref === EVERYONE ? !consumers.attached : entry.ref > 0 && !consumers.get(entry.ref);
  if (left) ledger.giveBack(entry, false, false, 0);
  else if (deadline <= now) fail(turn, entry, "lease expired", undefined, false);
  else ledger.extend(entry, deadline);
}

/** Asks the deciding queues of transactions that nobody has concluded in time. */
export const holdTimes: Timed = {
  deadline: ({ holds }) => holds.deadline,
  run: (turn) => {
    for (const hold of turn.ledger.holds.due(turn.now)) ask(turn, hold);
  },
};

/** Puts the question to the deciding queue on its way, unless it is: it is repeated until it is answered. */
function ask(turn: Turn, { tx, decider, askAt }: Hold): void {
  if (askAt === Number.POSITIVE_INFINITY) return;
  turn.sendRow(outboxTarget({ kind: "ask", name: decider }), transactionData(tx));
  turn.ledger.holds.asked(tx);
}

function refused(refusal: Refusal): QueueResult {
  return { type: "refused", refusal };
}
