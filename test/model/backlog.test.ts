// The backlog of a gateway against the reference, under random commands, asleep or killed between any two of them.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Writer } from "../../worker/bytes/writer.ts";
import { Backlog, type BacklogSizes } from "../../worker/gateway/backlog/backlog.ts";
import type { Outgoing } from "../../worker/gateway/backlog/outgoing.ts";
import type { ToRelease, ToSend } from "../../worker/gateway/backlog/owed.ts";
import { writeMessage } from "../../worker/message/record.ts";
import { message } from "../support/message.ts";
import { NodeSql } from "../support/node-sql.ts";
import { type Expected, ReferenceSession } from "./backlog-reference.ts";

const RUNS = Number(process.env.MODEL_RUNS ?? 400);
const SESSION_MESSAGES = 7;
/** Sessions 0 to 2 are durable, 3 and 4 end with their sockets. */
const SLOTS = [0, 1, 2, 3, 4];

interface Share {
  slot: number;
  qos: 1 | 2;
  retain: boolean;
  subscriptionIds: number[];
}

type Step =
  | { do: "connect"; slot: number; window: number }
  | { do: "lose" | "forget" | "pump" | "take" | "giveBack"; slot: number }
  | { do: "transfer"; messages: { ttlMs: number; shares: Share[] }[] }
  | {
      do: "ack";
      kind: "puback" | "pubrec" | "refuse" | "pubcomp";
      slot: number;
      pick: number;
      right: boolean;
    }
  | { do: "receive" | "release"; slot: number; id: number }
  | { do: "pass"; ms: number }
  | { do: "flush" | "sleep" | "crash" };

const slot = fc.constantFrom(...SLOTS);
const share: fc.Arbitrary<Share> = fc.record({
  slot,
  qos: fc.constantFrom(1 as const, 2 as const),
  retain: fc.boolean(),
  subscriptionIds: fc.constantFrom([], [], [7], [7, 300]),
});
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("connect" as const),
      slot,
      window: fc.constantFrom(1, 2, 3, 65_535),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom("lose" as const, "take" as const, "giveBack" as const),
      slot,
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("forget" as const), slot }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("pump" as const), slot }) },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant("transfer" as const),
      messages: fc.array(
        fc.record({
          ttlMs: fc.constantFrom(0, 0, 0, 500),
          shares: fc.uniqueArray(share, { selector: ({ slot }) => slot, maxLength: 5 }),
        }),
        { minLength: 1, maxLength: 3 },
      ),
    }),
  },
  {
    weight: 12,
    arbitrary: fc.record({
      do: fc.constant("ack" as const),
      kind: fc.constantFrom("puback" as const, "pubrec" as const, "refuse" as const, "pubcomp" as const),
      slot,
      pick: fc.nat({ max: 1_000 }),
      right: fc.constantFrom(true, true, true, false),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom("receive" as const, "release" as const),
      slot,
      id: fc.integer({ min: 1, max: 3 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("pass" as const), ms: fc.integer({ min: 1, max: 400 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("flush" as const) }) },
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constantFrom("sleep" as const, "sleep" as const, "crash" as const) }),
  },
);

/** A Backlog and the reference side by side. */
class Pair {
  readonly sql = new NodeSql();
  readonly sizes: Partial<BacklogSizes>;
  backlog: Backlog;
  now = 1_000_000;
  sessions = new Map<string, ReferenceSession>();
  /** The reference as the log knew it at its newest row. */
  durable = new Map<string, ReferenceSession>();
  transfers = 0;
  bodies = 0;
  lives = 0;
  /** Session ids by slot: a slot's next session has another id. */
  readonly ids = SLOTS.map((slot) => `s${slot}`);
  #rows = 0;

  constructor(sizes: Partial<BacklogSizes>) {
    this.sizes = { sessionMessages: SESSION_MESSAGES, ...sizes };
    this.backlog = Backlog.open(this.sql, this.now, this.sizes);
  }

  run(step: Step): void {
    if (step.do === "sleep") return this.#sleep();
    if (step.do === "crash") return this.#crash();
    if (step.do === "transfer") this.#transfer(step.messages);
    else if (step.do === "pass") this.#pass(step.ms);
    else if ("slot" in step) this.#ofSession(step);
    const urgent = step.do === "flush" || step.do === "lose";
    this.endTurn(urgent);
    this.check();
  }

  /** Ends the turn; what a row was written for is durable from now on. */
  endTurn(flush = false): void {
    const { backlog } = this;
    if (flush) this.sql.transaction(() => backlog.flushLazy());
    else this.sql.transaction(() => backlog.commit());
    const rows = this.sql.rowsWritten - this.#rows;
    this.#rows += rows;
    if (Object.keys(this.sizes).length === 1) expect(rows, "[BKL1] rows of a turn").toBeLessThanOrEqual(1);
    if (rows > 0) this.durable = new Map([...this.sessions].map(([id, session]) => [id, session.clone()]));
  }

  check(): void {
    for (const [id, reference] of this.sessions) {
      const outgoing = this.#outgoing(id);
      expect(outgoing.waiting, "[BKL2] waiting").toBe(reference.waiting.length);
      expect(outgoing.inFlight, "[BKL2] in flight").toBe(reference.flying.length + reference.lent.size);
      expect(outgoing.bytes, "[BKL2] bytes owed").toBe(reference.bytes);
      expect(outgoing.open, "[BKL2] open").toBe(reference.open);
      expect(this.backlog.inbound(id).size, "[BKL9] inbound").toBe(reference.inbound.size);
    }
    for (let id = 1; id <= this.transfers; id++) expect(this.backlog.taken("t", id), "[BKL10]").toBe(true);
  }

  /** Sends what the window admits. */
  pump(id: string): void {
    const reference = this.sessions.get(id)!;
    const outgoing = this.#outgoing(id);
    for (;;) {
      const expected = reference.send();
      const sent = outgoing.next(this.now);
      expect(this.#plain(sent), "[BKL3] [BKL4] next").toEqual(expected);
      if (sent === undefined) return;
    }
  }

  connect(id: string, window: number): void {
    const reference = this.sessions.get(id)!;
    const outgoing = this.#outgoing(id);
    reference.window = window;
    outgoing.setWindow(window);
    const sends = outgoing.resume().map((send) => this.#plain(send));
    expect(sends, "[BKL5] resume").toEqual(reference.resume());
  }

  #outgoing(id: string): Outgoing {
    return this.backlog.outgoing(id, this.sessions.get(id)!.durable);
  }

  #ofSession(step: Extract<Step, { slot: number }>): void {
    const id = this.ids[step.slot]!;
    const known = this.sessions.get(id);
    if (step.do === "connect") {
      if (known === undefined) {
        const durable = step.slot < 3;
        this.sessions.set(id, new ReferenceSession(durable, SESSION_MESSAGES));
        this.backlog.outgoing(id, durable);
      } else if (!known.durable) return;
      return this.connect(id, step.window);
    }
    if (known === undefined) return;
    if (step.do === "forget" || (step.do === "lose" && !known.durable)) return this.#forget(step.slot);
    if (step.do === "lose") {
      this.#outgoing(id).suspend();
      known.window = 0;
      known.lost();
      return;
    }
    if (step.do === "pump") return this.pump(id);
    // Without a connection nothing is acknowledged.
    if (step.do === "ack") return known.window > 0 ? this.#ack(step, id, known) : undefined;
    if (step.do === "receive" || step.do === "release") return this.#inbound(step, id, known);
    this.#lend(step.do, id, known);
  }

  #lend(what: "take" | "giveBack", id: string, reference: ReferenceSession): void {
    const outgoing = this.#outgoing(id);
    if (what === "take") {
      const taken = outgoing.take();
      expect(taken !== undefined, "[BKL6] take").toBe(reference.roomy);
      if (taken === undefined) return;
      expect(taken).toBeGreaterThan(32_767);
      expect(reference.lent.has(taken), "[BKL6] an id twice").toBe(false);
      reference.lent.add(taken);
      return;
    }
    const [lent = 40_000] = reference.lent;
    expect(outgoing.giveBack(lent), "[BKL6] give back").toBe(reference.lent.delete(lent));
  }

  #inbound(step: { do: "receive" | "release"; id: number }, id: string, reference: ReferenceSession): void {
    const inbound = this.backlog.inbound(id);
    expect(inbound.has(step.id), "[BKL9] has").toBe(reference.inbound.has(step.id));
    if (step.do === "release") {
      expect(inbound.remove(step.id), "[BKL9] remove").toBe(reference.inbound.delete(step.id));
      return;
    }
    expect(inbound.add(step.id), "[BKL9] add").toBe(!reference.inbound.has(step.id));
    reference.inbound.add(step.id);
  }

  #ack(step: Extract<Step, { do: "ack" }>, id: string, reference: ReferenceSession): void {
    const outgoing = this.#outgoing(id);
    // A client may also acknowledge what this connection has not sent again yet.
    const flying = step.right ? reference.flying.filter(({ onWire }) => onWire) : reference.flying;
    const copy = flying[step.pick % Math.max(flying.length, 1)];
    const packetId = copy === undefined ? step.pick : 1 + copy.index;
    const fitting = copy?.qos === 1 ? "puback" : copy?.state === "released" ? "pubcomp" : "pubrec";
    const kind = step.right && step.kind !== "refuse" ? fitting : step.kind;
    if (kind === "puback") {
      expect(outgoing.puback(packetId), "[BKL7] puback").toBe(reference.puback(packetId));
    } else if (kind === "pubcomp") {
      expect(outgoing.pubcomp(packetId), "[BKL7] pubcomp").toBe(reference.pubcomp(packetId));
    } else {
      const failed = kind === "refuse";
      expect(outgoing.pubrec(packetId, failed), "[BKL7] pubrec").toBe(reference.pubrec(packetId, failed));
    }
  }

  #transfer(messages: { ttlMs: number; shares: Share[] }[]): void {
    const { backlog } = this;
    const source = ++this.transfers;
    expect(backlog.taken("t", source), "[BKL10] not yet taken").toBe(false);
    backlog.take("t", source);
    for (const { ttlMs, shares } of messages) {
      const body = `"${++this.bodies}"`;
      const expiresAt = ttlMs > 0 ? this.now + ttlMs : 0;
      const writer = new Writer();
      writeMessage(writer, message({ body, expiresAt }));
      const record = writer.take();
      for (const { slot, qos, retain, subscriptionIds } of shares) {
        const id = this.ids[slot]!;
        const reference = this.sessions.get(id);
        if (reference === undefined) continue;
        const outgoing = this.#outgoing(id);
        const live = !reference.durable && outgoing.open;
        const position = live ? 0 : backlog.keep(record);
        if (typeof position !== "number") throw new Error(position.message);
        const bytes = record.length;
        const expected = reference.offer({
          body,
          bytes,
          expiresAt,
          kept: !live,
          qos,
          retain,
          subscriptionIds,
        });
        expect(outgoing.offer({ position, qos, retain, subscriptionIds }), "[BKL3] offer").toBe(expected);
      }
    }
  }

  #pass(ms: number): void {
    this.now += ms;
    this.backlog.expire(this.now);
    for (const reference of this.sessions.values()) reference.expire(this.now);
  }

  #forget(slot: number): void {
    const id = this.ids[slot]!;
    // A session that the log never heard of needs no row to end.
    if (!this.backlog.sessions().includes(id)) this.durable.delete(id);
    this.backlog.forget(id);
    this.sessions.delete(id);
    this.ids[slot] = `s${slot}-${++this.lives}`;
  }

  /** The object is evicted: its sockets stay, with what their attachments carry. */
  #sleep(): void {
    const saved = [...this.sessions].map(([id, { window }]) => {
      const outgoing = this.#outgoing(id);
      const socket =
        window > 0 ? { window: outgoing.save(), ids: this.backlog.inbound(id).save() } : undefined;
      return { id, socket };
    });
    this.backlog = Backlog.open(this.sql, this.now, this.sizes);
    for (const { id, socket } of saved) {
      const outgoing = this.#outgoing(id);
      if (socket === undefined) continue;
      expect(socket.window.length, "[BKL8] the attachment").toBeLessThan(300);
      outgoing.restore(socket.window);
      this.backlog.inbound(id).restore(socket.ids);
    }
    this.check();
  }

  /** The process dies: sockets are gone, and what was not in the log. */
  #crash(): void {
    this.sessions = new Map([...this.durable].map(([id, session]) => [id, session.clone()]));
    this.backlog = Backlog.open(this.sql, this.now, this.sizes);
    const alive = new Set(this.sessions.keys());
    expect(
      this.backlog.sessions().filter((id) => !alive.has(id)),
      "[BKL11] forgotten sessions",
    ).toEqual([]);
    for (const [id, session] of this.sessions) {
      if (session.durable) continue;
      this.backlog.forget(id);
      this.sessions.delete(id);
    }
    for (const session of this.sessions.values()) {
      session.window = 0;
      session.lost();
      session.expire(this.now);
    }
    this.endTurn();
    this.durable = new Map([...this.sessions].map(([id, session]) => [id, session.clone()]));
    this.check();
  }

  #plain(send: ToSend | ToRelease | undefined): Expected | undefined {
    if (send === undefined || "release" in send) return send;
    const { position, packetId, dup, qos, retain, subscriptionIds } = send;
    const body = this.backlog.record(position)?.decode().body;
    return { packetId, dup, body: String(body), qos, retain, subscriptionIds: [...subscriptionIds] };
  }
}

const SIZES: Partial<BacklogSizes>[] = [
  {},
  { segmentRows: 3, checkpointBytes: 1_000_000 },
  { segmentRows: 2, checkpointBytes: 60 },
];

describe("a backlog against its reference", () => {
  for (const sizes of SIZES) {
    it(`[BKL1] [BKL2] [BKL3] [BKL4] [BKL5] [BKL6] [BKL7] [BKL8] [BKL9] [BKL10] [BKL11] keeps every rule, asleep or killed between any two commands: ${JSON.stringify(sizes)}`, () => {
      fc.assert(
        fc.property(fc.array(step, { minLength: 10, maxLength: 80, size: "max" }), (steps) => {
          const pair = new Pair(sizes);
          for (const next of steps) pair.run(next);
        }),
        { numRuns: RUNS },
      );
    });
  }
});
