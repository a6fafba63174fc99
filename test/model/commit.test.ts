// Commits over several queues whose calls, answers and transfers are lost, repeated and late, whose callers die and whose objects forget
// everything at any step: tokens move from queue to queue, and in the end each is there once.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type CommitPort, type CommitReceipt, coordinate } from "../../worker/commit/coordinate.ts";
import { makePlan, type PublishWish, type SettleWish } from "../../worker/commit/plan.ts";
import { isRefusal, type Refusal, refuse } from "../../worker/errors.ts";
import { ABORT_MEMORY_MS, HOLD_MS } from "../../worker/limits.ts";
import { CommandWriter, type QueueCommand, readCommands } from "../../worker/link/commands.ts";
import { formatHandle } from "../../worker/link/handle.ts";
import { type QueueResult, readResults, writeResults } from "../../worker/link/results.ts";
import { destinationOf, transactionIn } from "../../worker/queue/destination.ts";
import { peek } from "../../worker/queue/peek.ts";
import { outbox, type SentRow } from "../support/commits.ts";
import { type Delivered, Machine, messagesIn } from "../support/machine.ts";

const RUNS = Number(process.env.MODEL_RUNS ?? 300);
const NAMES = ["a", "b", "c"] as const;
const TOKENS = 5;
const REF = 7;
const UNAVAILABLE: QueueResult = { type: "refused", refusal: refuse("unavailable", "lost") };

type Fate = "ok" | "lost" | "answer lost" | "late" | "twice" | "caller dies";

type Step =
  | { do: "commit"; picks: { queue: number; delivery: number; to: number }[] }
  | { do: "repeat"; commit: number }
  | { do: "call"; which: number; fate: Fate }
  | { do: "late"; which: number }
  | { do: "send"; from: number; which: number; fate: Fate }
  | { do: "reopen" | "leave" | "come"; queue: number }
  | { do: "pass"; ms: number };

const index = fc.nat({ max: 20 });
const queue = fc.nat({ max: NAMES.length - 1 });
const fate = fc.constantFrom<Fate>("ok", "ok", "ok", "lost", "answer lost", "late", "twice", "caller dies");
const pick = fc.record({ queue, delivery: index, to: queue });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("commit" as const),
      picks: fc.array(pick, { minLength: 1, maxLength: 3 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("repeat" as const), commit: index }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constant("call" as const), which: index, fate }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("late" as const), which: index }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant("send" as const), from: queue, which: index, fate }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom("reopen" as const, "leave" as const, "come" as const),
      queue,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("pass" as const), ms: fc.constantFrom(1, 900, 12_000, 31_000) }),
  },
);

/** What a client asked for, and what it heard. */
interface Wanted {
  number: number;
  key: string;
  settles: SettleWish[];
  publishes: PublishWish[];
  tokens: string[];
  answers: (CommitReceipt[] | Refusal)[];
}

/** A call on its way. */
interface Call {
  run: () => QueueResult;
  answer: (result: QueueResult) => void;
}

class World {
  readonly machines = NAMES.map((name) => new Machine(name, { maxFailures: 10_000 }));
  /** What clients hold, or believe to hold, by queue. */
  readonly held: Delivered[][] = NAMES.map(() => []);
  readonly wanted: Wanted[] = [];
  /** Tokens that were seen as a commit wrote them. */
  readonly seen = new Set<string>();
  calls: Call[] = [];
  late: { at: number; run: () => unknown }[] = [];
  now = 1_000_000;

  constructor() {
    for (let at = 0; at < TOKENS; at++) {
      this.machines[at % NAMES.length]!.publish({ body: `t${at}:0` });
    }
    for (const [at, machine] of this.machines.entries()) this.note(at, machine.attach(REF, 100));
  }

  apply(at: number, command: QueueCommand): QueueResult {
    const machine = this.machines[at]!;
    machine.now = this.now;
    const packet = new CommandWriter();
    packet.command(command);
    const { results } = machine.turn(...readCommands(packet.take()));
    this.note(at, machine.delivered);
    return readResults(writeResults(1, results)).results[0]!;
  }

  note(at: number, delivered: Delivered[]): void {
    this.held[at]!.push(...delivered);
    for (const { body } of delivered) this.seen.add(body);
  }

  async run(next: Step): Promise<void> {
    switch (next.do) {
      case "commit":
        this.begin(next.picks);
        break;
      case "repeat": {
        const known = this.wanted[next.commit % Math.max(1, this.wanted.length)];
        if (known !== undefined) this.make(known);
        break;
      }
      case "call": {
        const [call] = this.calls.splice(next.which % Math.max(1, this.calls.length), 1);
        if (call !== undefined) this.decideCall(call, next.fate);
        break;
      }
      case "late": {
        const [call] = this.late.splice(next.which % Math.max(1, this.late.length), 1);
        if (call !== undefined && call.at > this.now - ABORT_MEMORY_MS) call.run();
        break;
      }
      case "send": {
        const rows = outbox(this.machines[next.from]!);
        // Rows to one target go in order.
        const first = new Map(rows.toReversed().map((row) => [row.target, row]));
        const row = [...first.values()][next.which % Math.max(1, first.size)];
        if (row !== undefined) this.send(next.from, row, next.fate);
        break;
      }
      case "reopen":
        this.machines[next.queue]!.reopen();
        break;
      case "leave":
        this.apply(next.queue, { type: "detach", refs: [REF] });
        break;
      case "come":
        this.come(next.queue);
        break;
      case "pass":
        this.pass(next.ms);
    }
    await settled();
  }

  come(at: number): void {
    const consumer = { ref: REF, gateway: "g", client: "", filter: "", credit: 100, leaseMs: undefined };
    this.apply(at, { type: "attach", consumer: { ...consumer, generation: 1, resend: true } });
  }

  pass(ms: number): void {
    this.now += ms;
    for (const [at, machine] of this.machines.entries()) {
      machine.now = this.now;
      machine.turn();
      this.note(at, machine.delivered);
    }
  }

  begin(picks: { queue: number; delivery: number; to: number }[]): void {
    const number = this.wanted.length + 1;
    const want: Wanted = { number, key: "", settles: [], publishes: [], tokens: [], answers: [] };
    for (const { queue: from, delivery, to } of picks) {
      const known = this.held[from]!;
      // Mostly one that was delivered lately.
      const given = known[known.length - 1 - (delivery % Math.max(1, known.length))];
      if (given === undefined) continue;
      const handle = formatHandle(given.position, given.lease);
      const name = NAMES[from]!;
      if (want.settles.some(({ lists, queue: same }) => same === name && lists.ack![0] === handle)) continue;
      const body = `${tokenOf(given.body)}:${number}`;
      want.settles.push({ queue: name, lists: { ack: [handle] } });
      want.publishes.push({ address: { kind: "queue", name: NAMES[to]! }, fields: { body } });
      want.tokens.push(JSON.stringify(body));
    }
    if (want.tokens.length === 0) return;
    this.wanted.push(want);
    this.make(want);
  }

  make(want: Wanted): void {
    const origin = { client: "", now: this.now, maxMessageBytes: 1_000 };
    const plan = makePlan(want.settles, want.publishes, origin);
    if (isRefusal(plan)) throw new Error(plan.message);
    want.key = plan.commit.key;
    const port: CommitPort = {
      apply: (name, command) =>
        new Promise((answer) => {
          const at = NAMES.indexOf(name as "a");
          this.calls.push({ answer, run: () => this.apply(at, command) });
        }),
      arrivals: async (_, rows) => rows.map(() => null),
    };
    coordinate(plan, port).then((answer) => want.answers.push(answer));
  }

  decideCall({ run, answer }: Call, how: Fate): void {
    if (how === "late" || how === "twice") this.late.push({ at: this.now, run });
    if (how === "ok" || how === "twice") answer(run());
    if (how === "answer lost") run();
    if (how === "lost" || how === "late" || how === "answer lost") answer(UNAVAILABLE);
  }

  send(from: number, { id, target, data }: SentRow, how: Fate): void {
    if (how === "lost") return;
    const { kind, name } = destinationOf(target);
    const at = NAMES.indexOf(name as "a");
    const confirm = () => this.machines[from]!.turn({ type: "confirmed", outboxId: id });
    if (kind === "publish") {
      const run = () => {
        const machine = this.machines[at]!;
        machine.now = this.now;
        const source = `${NAMES[from]}${target}`;
        machine.turn({ type: "transfer", source, id, records: data.slice(), published: true });
        this.note(at, machine.delivered);
      };
      if (how === "late" || how === "twice") this.late.push({ at: this.now, run });
      if (how !== "late") run();
    } else if (kind === "conclude") {
      const run = () => this.apply(at, { type: "conclude", tx: transactionIn(data), committed: true });
      if (how === "late" || how === "twice") this.late.push({ at: this.now, run });
      if (how !== "late") run();
    } else {
      const tx = transactionIn(data);
      const result = this.apply(at, { type: "resolve", tx, participant: NAMES[from]! });
      const committed = result.type === "settled" && result.settled[0] === true;
      const run = () => this.apply(from, { type: "conclude", tx, committed });
      if (how === "late" || how === "twice") this.late.push({ at: this.now, run });
      if (how !== "late" && how !== "answer lost") run();
    }
    if (how === "ok" || how === "twice") confirm();
  }

  /** Everything works again: calls come through, outboxes empty, times pass. */
  async heal(): Promise<void> {
    for (const machine of this.machines) machine.reopen();
    for (let round = 0; round < 6; round++) {
      for (let call = this.calls.shift(); call !== undefined; call = this.calls.shift()) {
        call.answer(call.run());
        await settled();
      }
      for (const [from, machine] of this.machines.entries()) {
        for (const row of outbox(machine)) this.send(from, row, "ok");
      }
      for (const at of NAMES.keys()) this.come(at);
      this.pass(HOLD_MS + 1);
    }
  }

  /** Bodies of everything that is in the queues. */
  present(): string[] {
    return this.machines.flatMap(({ queue: open }) =>
      (["ready", "leased", "delayed"] as const).flatMap((state) =>
        messagesIn(peek(open, state, 1_000, this.now)).map(({ body }) => String(body)),
      ),
    );
  }
}

/** Lets promises that are settled go on. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 12; turn++) await Promise.resolve();
}

function tokenOf(body: string): string {
  return body.replaceAll('"', "").split(":")[0]!;
}

const of = (queue: number) => ({ queue, delivery: 0, to: 0 });
const REFUSED_AND_LATE: Step[] = [
  { do: "commit", picks: [of(2), of(0)] },
  { do: "call", which: 0, fate: "ok" },
  { do: "commit", picks: [of(0), of(2), of(0)] },
  { do: "call", which: 15, fate: "ok" },
  { do: "call", which: 0, fate: "twice" },
  { do: "call", which: 0, fate: "ok" },
  { do: "call", which: 0, fate: "ok" },
  { do: "call", which: 0, fate: "ok" },
  { do: "late", which: 0 },
  { do: "commit", picks: [of(0)] },
  { do: "send", from: 0, which: 0, fate: "ok" },
  { do: "call", which: 0, fate: "ok" },
  { do: "call", which: 0, fate: "ok" },
  { do: "commit", picks: [of(0)] },
];

describe("commits over queues that fail", () => {
  it("[CMT1] [CMT3] [CMT5] [CMT8] [CMT10] [EVC1] take effect as a whole or not at all, once, and hold nothing for ever", async () => {
    let made = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 80, size: "max" }), async (steps) => {
        const world = new World();
        for (const next of steps) await world.run(next);
        await world.heal();

        expect(world.present().map(tokenOf).sort()).toEqual(["t0", "t1", "t2", "t3", "t4"]);
        for (const body of world.present()) world.seen.add(body);
        const done = new Set<string>();
        for (const { key, tokens } of world.wanted) {
          const effects = tokens.filter((body) => world.seen.has(body)).length;
          expect([0, tokens.length], `${tokens}`).toContain(effects);
          made += effects > 0 ? 1 : 0;
          if (effects > 0) done.add(key);
        }
        // A commit is known by what it settles: a second one of the same deliveries is a repeat of the first.
        for (const { key, answers } of world.wanted) {
          if (answers.some((answer) => !isRefusal(answer))) expect(done, key).toContain(key);
        }
        for (const { queue: open } of world.machines) {
          expect(open.ledger.holds.size).toBe(0);
          expect(open.ledger.consumers.size).toBe(1);
        }
      }),
      {
        numRuns: RUNS,
        // A commit that its deciding queue refused, whose call came again once its participants had been let go.
        examples: [[REFUSED_AND_LATE]],
      },
    );
    expect(made, "commits that took effect").toBeGreaterThan(RUNS / 2);
  });
});
