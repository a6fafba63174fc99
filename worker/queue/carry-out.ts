// The commands of a turn, and what carries each of them out.
import { type Refusal, refuse } from "../errors.ts";
import type { QueueCommand } from "../link/commands.ts";
import type { QueueResult } from "../link/results.ts";
import { positionOf } from "../log/log.ts";
import type { PushSpec } from "../push/spec.ts";
import { commit, resolve } from "./commit.ts";
import { conclude, hold } from "./holding.ts";
import { decide, prepare } from "./preparing.ts";
import { publish, takeTransfer } from "./publish.ts";
import { resumePush, setPush } from "./push-target.ts";
import { beginRedrive, endRedrive, type RedriveOptions } from "./redrive.ts";
import { removeSchedule, type ScheduleSpec, setSchedule } from "./schedules.ts";
import { applySettings, checkSettings, type QueueSettings, type QueueSettingsPatch } from "./settings.ts";
import { attach, detach, extend, NOBODY, pause, receive, settle } from "./settle.ts";
import type { Turn } from "./turn.ts";

/** A command of a turn: those of the link, and those of the object itself. */
export type TurnCommand =
  | QueueCommand
  | { type: "receive"; ref: number; max: number; leaseMs: number | undefined; filter?: string; wait: boolean }
  | { type: "withdraw"; ref: number }
  | { type: "transfer"; source: string; id: number; records: Uint8Array; published: boolean }
  | { type: "configure"; patch: QueueSettingsPatch & { paused?: boolean } }
  | { type: "purge" }
  | { type: "redrive"; options: RedriveOptions }
  | { type: "end-redrive" }
  | { type: "schedule"; id: string; spec: ScheduleSpec; record: Uint8Array }
  | { type: "unschedule"; id: string }
  | { type: "push"; spec: PushSpec | undefined }
  | { type: "resume-push" }
  | { type: "nothing" }
  | { type: "confirmed"; outboxId: number };

type Commands = { [Command in TurnCommand as Command["type"]]: Command };

const COMMANDS: { [Type in keyof Commands]: (turn: Turn, command: Commands[Type]) => QueueResult } = {
  publish: (turn, { records, condition }) => ({
    type: "published",
    messages: publish(turn, records, condition),
  }),
  // A settle may be of a message published in this very turn only if it was delivered before: nothing to seal.
  settle: (turn, { settlements, by = NOBODY }) => ({
    type: "settled",
    settled: settlements.map((settlement) => settle(turn, settlement, by)),
  }),
  extend: (turn, { handles, leaseMs }) => ({
    type: "settled",
    settled: handles.map((handle) => extend(turn, handle, leaseMs)),
  }),
  attach: (turn, { consumer }) => done(turn, attach(turn, consumer)),
  credit: (turn, { ref, add }) => {
    const consumer = turn.ledger.consumers.get(ref);
    if (consumer === undefined) return done(turn, refuse("no-subscription", "the subscription has ended"));
    turn.ledger.addCredit(consumer, add);
    return done(turn);
  },
  pause: (turn, { refs }) => {
    pause(turn, refs);
    return done(turn);
  },
  detach: (turn, { refs }) => {
    detach(turn, refs);
    return done(turn);
  },
  receive: (turn, command) => done(turn, receive(turn, command)),
  withdraw: (turn, { ref }) => {
    turn.ledger.consumers.remove(ref);
    return done(turn);
  },
  transfer: (turn, transfer) => ({ type: "published", messages: takeTransfer(turn, transfer) }),
  commit: (turn, command) => commit(turn, command.commit),
  hold: (turn, command) => hold(turn, command.hold),
  conclude: (turn, { tx, committed }) => {
    conclude(turn, tx, committed);
    return done(turn);
  },
  resolve: (turn, { tx, participant }) => resolve(turn, tx, participant),
  prepare: (turn, { record, preparation }) => prepare(turn, record, preparation),
  decide: (turn, { messageId, commit: isCommit }) => decide(turn, messageId, isCommit),
  configure: (turn, { patch }) => {
    const settings = changed(turn.ledger.settings, patch);
    const refusal = checkSettings(settings, turn.ledger.consumers.selecting);
    if (refusal === undefined) turn.ledger.configure(settings);
    return done(turn, refusal);
  },
  purge: (turn) => {
    turn.seal();
    if (turn.ledger.counts.ready > 0) turn.ledger.purge(positionOf(turn.row, 0));
    return done(turn);
  },
  redrive: (turn, { options }) => done(turn, beginRedrive(turn, options)),
  "end-redrive": (turn) => {
    endRedrive(turn);
    return done(turn);
  },
  schedule: (turn, { id, spec, record }) => done(turn, setSchedule(turn, id, spec, record)),
  unschedule: (turn, { id }) => done(turn, removeSchedule(turn, id)),
  push: (turn, { spec }) => done(turn, setPush(turn, spec)),
  "resume-push": (turn) => {
    resumePush(turn);
    return done(turn);
  },
  nothing: (turn) => done(turn),
  confirmed: (turn, { outboxId }) => {
    turn.store.removeOutbox(outboxId);
    return done(turn);
  },
};

/** Carries one command out. */
export function carryOut<Type extends keyof Commands>(turn: Turn, command: Commands[Type]): QueueResult {
  return COMMANDS[command.type as Type](turn, command);
}

function done({ ledger }: Turn, refusal?: Refusal): QueueResult {
  return refusal === undefined ? { type: "done", seq: ledger.nextSeq - 1 } : { type: "refused", refusal };
}

function changed(settings: QueueSettings, patch: QueueSettingsPatch & { paused?: boolean }): QueueSettings {
  const { paused, ...rest } = patch;
  const applied = applySettings(settings, rest);
  return paused === undefined ? applied : { ...applied, paused };
}

/** Commands at whose first arrival a queue comes into being. */
export const CREATING: ReadonlySet<TurnCommand["type"]> = new Set<TurnCommand["type"]>([
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

/** What a command is answered when the queue does not exist and it does not create it: no lease can be held there. */
export function refusedResult(command: TurnCommand, refusal: Refusal): QueueResult {
  if (refusal.kind !== "not-found") return { type: "refused", refusal };
  if (command.type === "settle") return { type: "settled", settled: command.settlements.map(() => false) };
  if (command.type === "hold") return { type: "settled", settled: command.hold.settlements.map(() => false) };
  if (command.type === "decide") return { type: "refused", refusal };
  if (command.type === "extend") return { type: "settled", settled: command.handles.map(() => false) };
  return { type: "done", seq: 0 };
}
