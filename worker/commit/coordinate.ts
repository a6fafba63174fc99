// The steps of a commit over queues: hold at the others, decide at one, wait for receipts. Dies with its caller at any step: what is
// decided is in the deciding queue's outbox, and what is held asks there (docs/commit.md).
import { type Refusal, refuse } from "../errors.ts";
import type { QueueCommand } from "../link/commands.ts";
import type { Committed, Published, QueueResult } from "../link/results.ts";
import type { Plan } from "./plan.ts";

/** Lost deliveries that a refusal names. */
const NAMED = 100;

/** The way to queues of one namespace. None of its promises is ever rejected. */
export interface CommitPort {
  /** Has a queue carry a command out; `refused` with `unavailable` when its answer did not come. */
  apply(queue: string, command: QueueCommand): Promise<QueueResult>;
  /** See QueueRpc.arrivals; nulls when the queue does not answer. */
  arrivals(queue: string, rows: number[]): Promise<(Published[] | null)[]>;
}

/** What became of one message: `pending` when it is sure to arrive, and not known to have arrived. */
export type CommitReceipt =
  | { messageId: string; seq: number; epoch: number; duplicate: boolean }
  | { messageId: string; pending: true; duplicate?: true };

/**
 * Makes a commit.
 *
 * @returns the receipts of what it published, in order; or why nothing of it has happened (`unavailable`: it may have)
 */
export async function coordinate(plan: Plan, port: CommitPort): Promise<CommitReceipt[] | Refusal> {
  const { decider, commit } = plan;
  const refusal = plan.others.length === 0 ? undefined : await holdAll(plan, port);
  // What cannot be held may have been settled by this very commit, whose answer was lost: the deciding queue knows.
  const held = refusal === undefined;
  let result = await port.apply(decider, { type: "commit", commit: { ...commit, held } });
  if (isUnanswered(result) && commit.participants.length > 0) {
    result = await port.apply(decider, { type: "commit", commit: { ...commit, held: false } });
    if (isUnanswered(result)) return result.refusal;
    // The word is given that it is not committed, and the caller may make it again.
    if (result.type !== "committed") {
      await letGo(plan, port);
      return refuse("unavailable", "the queue that decides could not be reached; repeat the commit");
    }
  }
  // One that gives up too much lately cannot promise not to make it: the holds ask it in their time.
  const isOpen = result.type === "refused" && result.refusal.kind === "too-many";
  if (!held || (result.type !== "committed" && !isOpen)) await letGo(plan, port);
  if (result.type === "committed") return receiptsOf(plan, result.messages, port);
  return refusal ?? refusalOf(result, plan.deliveries) ?? refuse("internal", "a commit was not decided");
}

/** Holds the parts of the other queues; why not, if one of them refuses. */
async function holdAll(plan: Plan, port: CommitPort): Promise<Refusal | undefined> {
  const { decider, commit, others } = plan;
  const { tx } = commit;
  const results = await Promise.all(
    others.map(({ queue, settlements }) =>
      port.apply(queue, { type: "hold", hold: { tx, decider, settlements } }),
    ),
  );
  const refusals = results
    .map((result, at) => refusalOf(result, others[at]!.deliveries))
    .filter((refusal) => refusal !== undefined);
  return refusals.find(({ kind }) => kind !== "conflict") ?? refusals[0];
}

/** Ends the holds of a commit that will not be made; one that does not hear of it asks in its time. */
async function letGo({ commit: { tx }, others }: Plan, port: CommitPort): Promise<void> {
  await Promise.all(others.map(({ queue }) => port.apply(queue, { type: "conclude", tx, committed: false })));
}

async function receiptsOf(plan: Plan, messages: Committed[], port: CommitPort): Promise<CommitReceipt[]> {
  const rows = [...new Set(messages.flatMap((message) => (isOnItsWay(message) ? [message.row] : [])))];
  const answered = rows.length === 0 ? [] : await port.arrivals(plan.decider, rows);
  const byRow = new Map(rows.map((row, at) => [row, answered[at]]));
  return messages.map((message, at): CommitReceipt => {
    const messageId = plan.messageIds[at]!;
    if (message === "unknown") return { messageId, pending: true, duplicate: true };
    const published = isOnItsWay(message) ? byRow.get(message.row)?.[message.at] : message;
    if (published === undefined) return { messageId, pending: true };
    const { seq, epoch, duplicate } = published;
    return { messageId, seq, epoch, duplicate };
  });
}

function isOnItsWay(message: Committed): message is { row: number; at: number } {
  return message !== "unknown" && "row" in message;
}

function isUnanswered(result: QueueResult): result is { type: "refused"; refusal: Refusal } {
  return result.type === "refused" && result.refusal.kind === "unavailable";
}

/** Why a queue does not do its part, if it does not. */
function refusalOf(result: QueueResult, deliveries: string[]): Refusal | undefined {
  if (result.type === "refused") return result.refusal;
  if (result.type !== "settled") return refuse("internal", `a commit was answered with ${result.type}`);
  const lost = deliveries.filter((_, at) => !result.settled[at]);
  if (lost.length === 0) return undefined;
  const more = lost.length > NAMED ? ` and ${lost.length - NAMED} more` : "";
  return refuse("conflict", `lost deliveries: ${lost.slice(0, NAMED).join(", ")}${more}; nothing was done`);
}
