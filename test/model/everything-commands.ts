// Makes the commands of the steps: which deliveries, which messages and which transactions their numbers stand for.
import type { Handle } from "../../worker/link/handle.ts";
import type { TurnCommand } from "../../worker/queue/carry-out.ts";
import { commitOf, outbox, publishOf, settlement } from "../support/commits.ts";
import { type Delivered, type Draft, type Machine, records } from "../support/machine.ts";
import type { Act, DraftStep } from "./everything-steps.ts";

const ODD = "kind = 'odd'";
const PUSH = { url: "https://example.com/", secret: "", headers: {}, service: "", timeoutMs: 1_000 };
const CRON = { timeZone: "UTC", missed: "skip" as const, ttlMs: 0 };
const DEATHS = JSON.stringify([{ queue: "home", reason: "failures", count: 2, firstTime: 1, lastTime: 2 }]);

/** A command, and the bodies of what it publishes if it is a commit. */
export interface Asked {
  command: TurnCommand;
  bodies: string[];
}

/** What is known of the queue. */
export interface Known {
  machine: Machine;
  /** All deliveries so far. */
  known: Delivered[];
  /** Holds that are not concluded. */
  holds: { tx: string }[];
  /** Transactions that were heard of, oldest first. */
  txs: string[];
}

/** Makes commands. */
export class Maker {
  readonly #known: Known;
  #count = 0;
  #calls = 0;

  constructor(known: Known) {
    this.#known = known;
  }

  /** The command of a step. */
  make(act: Act): Asked {
    const bodies: string[] = [];
    return { command: this.#command(act, bodies), bodies };
  }

  #pick(picks: number[]): Delivered[] {
    const recent = Math.min(this.#known.known.length, 12);
    const picked = picks.flatMap((pick) =>
      recent === 0 ? [] : [this.#known.known.at(-1 - (pick % recent))!],
    );
    return [...new Map(picked.map((delivery) => [nameOf(delivery), delivery])).values()];
  }

  #draft({ id, group, delayMs, ttlMs, bytes, priority, odd, receipt, letter }: DraftStep): Draft {
    const { now } = this.#known.machine;
    return {
      ...{ messageId: id > 8 ? "" : `id-${id}`, publisherId: id <= 8, priority },
      group: group === 0 ? "" : `g${group}`,
      dueAt: delayMs > 0 ? now + delayMs : 0,
      expiresAt: ttlMs > 0 ? now + ttlMs : 0,
      headers: odd ? '{"kind":"odd"}' : "",
      receiptTo: receipt ? "queue:told" : "",
      deaths: letter ? DEATHS : "",
      body: `b${++this.#count} ${"x".repeat(bytes)}`,
    };
  }

  #command(act: Act, bodies: string[]): TurnCommand {
    switch (act.do) {
      case "publish":
        return { type: "publish", records: records(...act.drafts.map((draft) => this.#draft(draft))) };
      case "publish-if": {
        const { producer, next, expect: expects, responders } = act;
        const condition = {
          ...(producer === 0 ? {} : { producer: { id: "p", epoch: 1, seq: next } }),
          ...(expects ? { expectSeq: this.#known.machine.queue.ledger.nextSeq - 1 } : {}),
          ...(responders ? { responders: true } : {}),
        };
        return { type: "publish", records: records(this.#draft(act.draft)), condition };
      }
      case "attach": {
        const { ref, credit, resend, odd } = act;
        const consumer = { ref, gateway: `gateway-${ref}`, client: `client-${ref}`, credit, resend };
        const more = { filter: odd ? ODD : "", leaseMs: undefined, generation: 1 };
        return { type: "attach", consumer: { ...consumer, ...more } };
      }
      case "receive": {
        const { max, odd, wait } = act;
        const leaseMs = undefined;
        return { type: "receive", ref: -++this.#calls, max, leaseMs, filter: odd ? ODD : "", wait };
      }
      case "settle":
      case "extend":
      case "commit":
      case "hold":
        return this.#aboutDeliveries(act, bodies);
      case "transfer": {
        const { id, published, draft } = act;
        const source = published ? "ns:other\0publish:graves" : "ns:other";
        return { type: "transfer", source, id, published, records: records(this.#draft(draft)) };
      }
      default:
        return this.#plain(act);
    }
  }

  #aboutDeliveries(act: Extract<Act, { picks: number[] }>, bodies: string[]): TurnCommand {
    const picked = this.#pick(act.picks);
    if (act.do === "extend") return { type: "extend", handles: picked, leaseMs: act.leaseMs };
    const settlements = picked.map((delivery) => settlement(delivery, act.outcome));
    if (act.do === "settle") {
      const { delayMs, by } = act;
      return { type: "settle", by, settlements: settlements.map((one) => ({ ...one, delayMs })) };
    }
    if (settlements.length === 0) return { type: "nothing" };
    const key = picked.map(nameOf).sort().join(" ");
    if (act.do === "hold") {
      return { type: "hold", hold: { tx: `${key}~${act.attempt}`, decider: "elsewhere", settlements } };
    }
    const publish = (to: string) => {
      const body = `c${++this.#count}`;
      bodies.push(body);
      const expectSeq = act.expect && to === "" ? this.#known.machine.queue.ledger.nextSeq - 1 : undefined;
      return publishOf(to, { body, messageId: body }, expectSeq);
    };
    const publishes = [
      ...Array.from({ length: act.own }, () => publish("")),
      ...Array.from({ length: act.elsewhere }, (_, at) => publish(at === 0 ? "queue:far" : "topic:far")),
    ];
    const participants = act.participant ? ["far"] : [];
    const parts = { tx: `${key}~${this.#count % 2}`, held: act.held, participants, settlements, publishes };
    return { type: "commit", commit: commitOf(key, parts) };
  }

  #plain(
    act: Exclude<
      Act,
      { picks: number[] } | { do: "publish" | "publish-if" | "attach" | "receive" | "transfer" }
    >,
  ): TurnCommand {
    switch (act.do) {
      case "pause":
      case "detach":
        return { type: act.do, refs: [act.ref] };
      case "credit":
        return { type: "credit", ref: act.ref, add: act.add };
      case "withdraw":
        return { type: "withdraw", ref: -this.#calls };
      case "purge":
      case "end-redrive":
      case "nothing":
        return { type: act.do };
      case "conclude": {
        const held = this.#known.holds[act.which % Math.max(1, this.#known.holds.length)];
        return { type: "conclude", tx: held?.tx ?? "none~1", committed: act.committed };
      }
      case "resolve":
        return { type: "resolve", tx: this.#known.txs.at(-1 - act.which) ?? "none~1", participant: "far" };
      case "prepare": {
        const { draft, checkAfterMs, checks } = act;
        const record = records({ ...this.#draft(draft), publisherId: true, messageId: `id-${draft.id}` });
        return { type: "prepare", record, preparation: { checkTo: "checks", checkAfterMs, checks } };
      }
      case "decide":
        return { type: "decide", messageId: `id-${act.id}`, commit: act.commit };
      case "configure":
        return { type: "configure", patch: act.patch };
      case "redrive": {
        const { max, perSecond, odd, to } = act;
        return { type: "redrive", options: { to, origin: "", filter: odd ? ODD : "", max, perSecond } };
      }
      case "schedule": {
        const spec = { ...CRON, cron: `*/${act.seconds} * * * * *`, to: act.out ? "queue:out" : "" };
        return { type: "schedule", id: `s${act.id}`, spec, record: records({ body: `s${act.id}` }) };
      }
      case "unschedule":
        return { type: "unschedule", id: `s${act.id}` };
      case "push":
        return {
          type: "push",
          spec: act.concurrency === 0 ? undefined : { ...PUSH, concurrency: act.concurrency },
        };
      case "confirm": {
        const rows = outbox(this.#known.machine);
        return { type: "confirmed", outboxId: rows[act.which % Math.max(1, rows.length)]?.id ?? 0 };
      }
    }
  }
}

/** A handle as text. */
export function nameOf({ position, lease }: Handle): string {
  return `${position}.${lease}`;
}
