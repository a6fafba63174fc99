// One queue under everything-steps.ts: remembers what was answered, delivered and sent, and checks after every turn that it is all true at
// once.
import { expect } from "vitest";
import type { Handle } from "../../worker/link/handle.ts";
import type { QueueResult } from "../../worker/link/results.ts";
import type { Message } from "../../worker/message/record.ts";
import type { TurnCommand } from "../../worker/queue/carry-out.ts";
import { destinationOf } from "../../worker/queue/destination.ts";
import type { Receipt } from "../../worker/queue/receipts.ts";
import type { QueueSettingsPatch } from "../../worker/queue/settings.ts";
import { outbox } from "../support/commits.ts";
import { checkInvariants, checkNobodyWaits } from "../support/invariants.ts";
import { type Delivered, Machine, messagesIn } from "../support/machine.ts";
import { type Asked, Maker, nameOf } from "./everything-commands.ts";
import type { Step } from "./everything-steps.ts";

/** Turns in which what is due now comes to rest. */
const MAX_TURNS = 20;

/** A hold that is not concluded. */
interface Held {
  tx: string;
  handles: Handle[];
  outcome: string;
}

/** The queue, and everything that is known of it. */
export class World {
  readonly machine: Machine;
  readonly known: Delivered[] = [];
  /** Of the last turn. */
  results: QueueResult[] = [];
  /** Seqs of which the end was seen; and which of them nobody is told of, as a purge or a redrive took them. */
  readonly #ended = new Set<number>();
  readonly #untold = new Set<number>();
  readonly #wanting = new Set<number>();
  readonly #receipts = new Set<number>();
  #present = new Set<number>();
  /** The outcome of the first settle of each handle that was answered true. */
  readonly #settled = new Map<string, string>();
  readonly #seqs = new Map<number, number>();
  holds: Held[] = [];
  readonly txs: string[] = [];
  /** Keys of commits that were made. */
  readonly #made = new Set<string>();
  /** Bodies that were ever seen in this queue, and those that left it: `target body`. */
  readonly #bodies = new Set<string>();
  readonly #left = new Set<string>();
  #lastRow = 0;
  readonly #maker = new Maker(this);

  constructor(settings: QueueSettingsPatch = {}) {
    const more = { deadLetterTo: "crypt", maxFailures: 2, leaseMs: 1_000 };
    this.machine = new Machine("graves", { ...more, ...settings });
  }

  /** Carries a step out, and checks. */
  run(step: Step): void {
    const { machine } = this;
    switch (step.do) {
      case "turn":
        this.#turn(step.acts.map((act) => this.#maker.make(act)));
        break;
      case "pass":
        machine.now += step.ms;
        this.#turn([]);
        break;
      case "deadline": {
        const { nextDeadline } = machine.queue;
        if (nextDeadline > machine.now + 1e9) return;
        machine.now = Math.max(machine.now, nextDeadline);
        this.#turn([]);
        break;
      }
      case "evict":
        this.evict();
    }
  }

  /** The object is gone and wakes, as its shell does it. */
  evict(): void {
    this.machine.reopen();
    if (this.machine.queue.ledger.push.spec === undefined) return;
    const { ledger } = this.machine.queue;
    const pusher = ledger.consumers.get(1)!;
    const shared = [...ledger.everyone.of(pusher, false)];
    const own = [...ledger.entries.values()].filter(({ state, ref }) => state === "leased" && ref === 1);
    const under = [...own, ...shared].filter(({ position }) => !ledger.holds.has(position)).map(nameOf);
    this.#turn([{ command: { type: "resume-push" }, bodies: [] }]);
    const again = this.machine.delivered.filter(({ ref }) => ref === 1).map(nameOf);
    expect(again, "[PSH7] what was under way is pushed again").toEqual(expect.arrayContaining(under));
  }

  /** What is due now until nothing is: a turn at its deadline gets on. */
  #turn(asked: Asked[]): void {
    const { machine } = this;
    const due = machine.now;
    let { more } = this.#one(asked);
    for (let turns = 0; more || machine.queue.nextDeadline <= due; turns++) {
      expect(turns, "turns until nothing is due").toBeLessThan(MAX_TURNS);
      const delivered = machine.delivered;
      more = this.#one([]).more;
      machine.delivered = [...delivered, ...machine.delivered];
    }
    checkNobodyWaits(machine);
  }

  #one(asked: Asked[]): { more: boolean } {
    const { machine } = this;
    const { results, more } = machine.turn(...asked.map(({ command }) => command));
    this.results = results;
    this.#noteDelivered();
    const sent = this.#noteSent();
    this.#notePresent(checkInvariants(machine), sent, asked);
    for (const [at, one] of asked.entries()) this.#answered(one, results[at]!, asked.length === 1);
    this.#checkHolds();
    return { more };
  }

  #noteDelivered(): void {
    const { delivered, queue } = this.machine;
    for (const delivery of delivered) {
      expect(this.#ended.has(delivery.seq), `${delivery.seq} comes after its end`).toBe(false);
      const before = this.#seqs.get(delivery.lease) ?? delivery.seq;
      expect(before, "a lease is of one message").toBe(delivery.seq);
      this.#seqs.set(delivery.lease, delivery.seq);
      const entry = queue.ledger.entries.get(delivery.position);
      // Who is sent something holds it, unless another command of the turn took it away again.
      if (entry?.state === "leased" && entry.lease === delivery.lease && entry.ref !== 0) {
        expect(entry.ref, `who holds ${delivery.seq}`).toBe(delivery.ref);
      }
    }
    this.known.push(...delivered);
  }

  /** Rows that are new in the outbox: each message leaves once. */
  #noteSent(): { redriven: Set<number>; bodies: string[] } {
    const redriven = new Set<number>();
    const bodies: string[] = [];
    for (const { id, target, data } of outbox(this.machine)) {
      if (id <= this.#lastRow) continue;
      this.#lastRow = id;
      const { kind } = destinationOf(target);
      if (kind === "conclude" || kind === "ask") continue;
      for (const { body, messageId, seq } of messagesIn(data)) {
        if (target === "checks") continue;
        if (target === "told") this.#told(JSON.parse(String(body)) as Receipt);
        else {
          const what = target === "out" ? messageId : `${target} ${seq} ${body}`;
          expect(this.#left.has(what), `${what} leaves a second time`).toBe(false);
          this.#left.add(what);
          bodies.push(String(body));
          if (target === "elsewhere" || target === "home") redriven.add(seq);
        }
      }
    }
    return { redriven, bodies };
  }

  #told({ seq }: Receipt): void {
    expect(this.#receipts.has(seq), `a second receipt of ${seq}`).toBe(false);
    expect(this.#untold.has(seq), `a receipt of ${seq}, which a purge took`).toBe(false);
    this.#receipts.add(seq);
  }

  #notePresent(
    present: Message[],
    { redriven, bodies }: { redriven: Set<number>; bodies: string[] },
    asked: Asked[],
  ): void {
    const now = new Set(present.map(({ seq }) => seq));
    for (const seq of now) expect(this.#ended.has(seq), `${seq} is back after its end`).toBe(false);
    const purging = asked.some(({ command }) => command.type === "purge");
    for (let seq = 1; seq < this.machine.queue.ledger.nextSeq; seq++) {
      if (now.has(seq) || this.#ended.has(seq)) continue;
      this.#ended.add(seq);
      const isTold = this.#receipts.has(seq);
      if (isTold) continue;
      if (purging || redriven.has(seq)) this.#untold.add(seq);
      else expect(this.#wanting.has(seq), `${seq} ended, and nobody is told`).toBe(false);
    }
    this.#present = now;
    for (const body of bodies) this.#bodies.add(body);
    for (const { body, seq, receiptTo } of present) {
      this.#bodies.add(String(body));
      if (receiptTo !== "") this.#wanting.add(seq);
    }
  }

  #answered({ command, bodies }: Asked, result: QueueResult, alone: boolean): void {
    if (command.type === "settle" && result.type === "settled") {
      for (const [at, handle] of command.settlements.entries()) {
        if (result.settled[at]) this.#settle(handle, handle.outcome);
        else if (alone && !this.#settled.has(nameOf(handle))) {
          const { entries, holds } = this.machine.queue.ledger;
          const entry = entries.get(handle.position);
          const lost =
            entry?.state !== "leased" || entry.lease !== handle.lease || holds.has(handle.position);
          expect(lost, `${nameOf(handle)} can be settled`).toBe(true);
        }
      }
    }
    if (command.type === "hold" && result.type === "settled" && !result.settled.includes(false)) {
      const { tx, settlements } = command.hold;
      if (!this.holds.some((held) => held.tx === tx) && this.machine.queue.ledger.holds.get(tx)) {
        this.holds.push({ tx, handles: settlements, outcome: settlements[0]!.outcome });
      }
      this.txs.push(tx);
    }
    if (command.type === "conclude") {
      const held = this.holds.find(({ tx }) => tx === command.tx);
      this.holds = this.holds.filter((other) => other !== held);
      if (command.committed) for (const handle of held?.handles ?? []) this.#settle(handle, held!.outcome);
    }
    if (command.type === "commit") this.#committed(command.commit.key, command.commit, result, bodies);
  }

  #committed(
    key: string,
    { tx, settlements, publishes }: Extract<TurnCommand, { type: "commit" }>["commit"],
    result: QueueResult,
    bodies: string[],
  ): void {
    this.txs.push(tx);
    const seen = bodies.filter((body) => this.#bodies.has(body)).length;
    if (result.type !== "committed" || this.#made.has(key)) {
      expect(seen, `a commit that is not made has no effect: ${bodies}`).toBe(0);
      return;
    }
    this.#made.add(key);
    expect(result.messages.length).toBe(publishes.length);
    for (const [at, message] of result.messages.entries()) {
      // One of the queue's own may be gone already, by a limit or a purge in this turn.
      if (message !== "unknown" && "seq" in message) expect(message).toMatchObject({ duplicate: false });
      else
        expect(this.#bodies.has(bodies[at]!), `a commit takes effect as a whole: ${bodies[at]}`).toBe(true);
    }
    for (const handle of settlements) this.#settle(handle, handle.outcome);
  }

  /** A handle was settled: what is done is gone for good. */
  #settle(handle: Handle, outcome: string): void {
    const name = nameOf(handle);
    if (this.#settled.has(name)) return;
    this.#settled.set(name, outcome);
    if (outcome !== "ack" && outcome !== "dead") return;
    expect(this.#present.has(this.#seqs.get(handle.lease)!), `${name} is settled, and still there`).toBe(
      false,
    );
  }

  /** What a commit holds stays leased as it was. */
  #checkHolds(): void {
    const { entries, holds } = this.machine.queue.ledger;
    for (const { tx, handles } of this.holds) {
      expect(holds.get(tx), `the hold of ${tx}`).toBeDefined();
      for (const { position, lease } of handles) {
        expect(entries.get(position), `what ${tx} holds`).toMatchObject({ state: "leased", lease });
      }
    }
  }
}
