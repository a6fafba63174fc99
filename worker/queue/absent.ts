// A queue that does not exist: which commands bring it into being, and what the others are answered.
import type { Refusal } from "../errors.ts";
import type { QueueResult } from "../link/results.ts";
import type { TurnCommand } from "./carry-out.ts";

const CREATING = new Set<TurnCommand["type"]>([
  "publish",
  "attach",
  "receive",
  "transfer",
  "configure",
  "schedule",
  "push",
  "commit",
  "prepare",
]);
/** Whether a queue comes into being at the first arrival of this command. */
export function creates({ type }: TurnCommand): boolean {
  return CREATING.has(type);
}

/** What a command is answered when the queue does not exist and it does not create it: no lease can be held there. */
export function refusedResult(command: TurnCommand, refusal: Refusal): QueueResult {
  if (refusal.kind !== "not-found") return { type: "refused", refusal };
  if (command.type === "settle") return { type: "settled", settled: command.settlements.map(() => false) };
  if (command.type === "hold") return { type: "settled", settled: command.hold.settlements.map(() => false) };
  if (command.type === "decide") return { type: "refused", refusal };
  if (command.type === "extend") return { type: "settled", settled: command.handles.map(() => false) };
  return { type: "done", seq: 0 };
}
