// Which rooms a gateway's sessions are in: that rooms hear of every end, whatever the calls to them meet and whenever the gateway dies.
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ANYONE, type Principal } from "../../../worker/auth/principal.ts";
import { isRefusal, type Refusal, refuse } from "../../../worker/errors.ts";
import { Attendance } from "../../../worker/gateway/attendance.ts";
import type { ObjectLink, PublishDone } from "../../../worker/gateway/object-link.ts";
import type { Session } from "../../../worker/gateway/session.ts";
import { MAX_SESSION_ROOMS } from "../../../worker/limits.ts";
import type { Published } from "../../../worker/link/results.ts";
import { presenceAction } from "../../../worker/message/presence.ts";
import type { Message } from "../../../worker/message/record.ts";
import { message } from "../../support/message.ts";
import { NodeSql } from "../../support/node-sql.ts";

const RETRY_MS = 1_000;
const TAKEN: Published = { seq: 1, duplicate: false, epoch: 1 };
const AWAY = refuse("unavailable", "the test has cut this off");

/** One gateway's attendance, and rooms that apply what reaches them as the real ones do. */
class Bench {
  readonly sql = new NodeSql();
  attendance!: Attendance;
  /** By topic: the session by which each client is there. */
  readonly rooms = new Map<string, Map<string, string>>();
  /** What becomes of calls: carried out and answered, carried out without an answer, or neither. */
  network: "up" | "deaf" | "down" = "up";
  /** What rooms refuse, if anything. */
  refusal: Refusal | undefined;
  /** Calls that wait for their answer, when `held`. */
  held = false;
  readonly waiting: (() => void)[] = [];

  constructor() {
    this.wake(new Set());
  }

  /** The object wakes with what is on its disk, and with these sessions. */
  wake(sessions: Set<string>): void {
    this.waiting.length = 0;
    const link = (_: string, topic: string) =>
      ({
        publish: (sent: Message, done: PublishDone) => this.#carry(topic, sent, done),
      }) as unknown as ObjectLink;
    const attendance = new Attendance({ sql: this.sql, link, flush: () => undefined }, 1_000);
    this.attendance = attendance;
    attendance.keepOnly(sessions);
  }

  say(who: Session, room: string, action: string, data = 1): Published | Refusal | undefined {
    let told: Published | Refusal | undefined;
    const given = message({ body: JSON.stringify({ action, data }) });
    this.attendance.publish(who, `$presence/${room}`, given, (outcome) => {
      told = outcome;
    });
    return told;
  }

  who(room: string): string[] {
    return [...(this.rooms.get(`$presence/${room}`)?.keys() ?? [])].sort();
  }

  get rows(): number {
    const exists = this.sql.all("SELECT 1 FROM sqlite_master WHERE name = 'attendance'").length > 0;
    return exists ? this.sql.all("SELECT * FROM attendance").length : 0;
  }

  #carry(topic: string, sent: Message, done: PublishDone): void {
    if (this.network === "down") return done(AWAY);
    if (this.refusal !== undefined) return done(this.refusal);
    this.#apply(topic, sent);
    const answer = () => done(this.network === "deaf" ? AWAY : TAKEN);
    if (this.held) this.waiting.push(answer);
    else answer();
  }

  #apply(topic: string, sent: Message): void {
    const said = presenceAction(sent);
    if (isRefusal(said)) throw new Error(said.message);
    let room = this.rooms.get(topic);
    if (room === undefined) {
      room = new Map();
      this.rooms.set(topic, room);
    }
    if (said.action !== "leave") room.set(sent.publisher, sent.group);
    else if (room.get(sent.publisher) === sent.group) room.delete(sent.publisher);
  }
}

function session(client: string, id = `${client}-1`, principal: Principal = ANYONE): Session {
  return { id, client, namespace: "n", principal } as Session;
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("a gateway's attendance", () => {
  it("[PRS12] a session that ends leaves every room, and nothing of it is kept", () => {
    const bench = new Bench();
    const ann = session("ann");
    for (const room of ["a", "b"]) bench.say(ann, room, "enter");
    bench.say(session("bob"), "a", "enter");
    expect([bench.who("a"), bench.rows]).toEqual([["ann", "bob"], 3]);
    bench.attendance.leaveAll(ann);
    expect([bench.who("a"), bench.who("b"), bench.rows]).toEqual([["bob"], [], 1]);
    expect(bench.attendance.nextDeadline).toBeLessThan(Number.POSITIVE_INFINITY);
    bench.attendance.leaveAll(session("bob"));
    expect(bench.attendance.nextDeadline).toBe(Number.POSITIVE_INFINITY);
  });

  it("[PRS13] a room that cannot be reached is told until it has heard", () => {
    const bench = new Bench();
    bench.say(session("ann"), "a", "enter");
    bench.network = "down";
    bench.attendance.leaveAll(session("ann"));
    vi.advanceTimersByTime(RETRY_MS * 5);
    expect([bench.who("a"), bench.rows]).toEqual([["ann"], 1]);
    bench.network = "up";
    vi.advanceTimersByTime(RETRY_MS);
    expect([bench.who("a"), bench.rows]).toEqual([[], 0]);
  });

  it("[PRS13] a gateway that wakes without a session's socket ends its presence, and keeps the others'", () => {
    const bench = new Bench();
    bench.say(session("ann"), "a", "enter");
    bench.say(session("bob"), "a", "enter");
    bench.wake(new Set(["bob-1"]));
    expect([bench.who("a"), bench.rows]).toEqual([["bob"], 1]);
  });

  it("[PRS13] an enter whose answer was lost is left all the same", () => {
    const bench = new Bench();
    bench.network = "deaf";
    expect(bench.say(session("ann"), "a", "enter")).toMatchObject({ kind: "unavailable" });
    bench.network = "up";
    expect(bench.who("a")).toEqual(["ann"]);
    bench.attendance.leaveAll(session("ann"));
    expect([bench.who("a"), bench.rows]).toEqual([[], 0]);
  });

  it("[PRS7] an enter that is refused leaves no trace, a refused update leaves the member in", () => {
    const bench = new Bench();
    bench.refusal = refuse("too-many", "the test says so");
    bench.say(session("ann"), "a", "enter");
    expect(bench.rows).toBe(0);
    bench.refusal = undefined;
    bench.say(session("ann"), "a", "enter");
    bench.refusal = refuse("too-many", "the test says so");
    bench.say(session("ann"), "a", "update", 2);
    expect(bench.rows).toBe(1);
  });

  it("[PRS7] one room more than the limit is refused", () => {
    const bench = new Bench();
    for (let i = 0; i < MAX_SESSION_ROOMS; i++) bench.say(session("ann"), `r${i}`, "enter");
    expect(bench.say(session("ann"), "more", "enter")).toMatchObject({ kind: "too-many" });
    expect(bench.say(session("ann"), "r0", "update")).toEqual(TAKEN);
  });

  it("[PRS12] who enters again while a leave is on its way stays", () => {
    const bench = new Bench();
    const ann = session("ann");
    bench.say(ann, "a", "enter");
    bench.held = true;
    bench.say(ann, "a", "leave");
    bench.say(ann, "a", "enter");
    for (const answer of bench.waiting.splice(0)) answer();
    expect([bench.who("a"), bench.rows]).toEqual([["ann"], 1]);
    bench.held = false;
    bench.network = "down";
    bench.attendance.leaveAll(ann);
    bench.network = "up";
    bench.say(ann, "a", "enter");
    vi.advanceTimersByTime(RETRY_MS * 3);
    expect([bench.who("a"), bench.rows]).toEqual([["ann"], 1]);
  });

  it("[PRS12] another token ends what it does not allow", () => {
    const bench = new Bench();
    const ann = session("ann");
    for (const room of ["a", "b"]) bench.say(ann, room, "enter");
    const principal = { ...ANYONE, allow: [{ do: ["publish"], on: "topic:$presence/b" }] };
    bench.attendance.authorize({ ...ann, principal });
    expect([bench.who("a"), bench.who("b")]).toEqual([[], ["ann"]]);
  });

  it("[PRS9] [PRS12] [PRS13] rooms know in the end who is there, whatever fails in between", () => {
    const step = fc.oneof(
      fc.record({
        do: fc.constantFrom("enter" as const, "enter" as const, "leave" as const),
        client: fc.constantFrom("ann", "bob"),
        room: fc.constantFrom("a", "b"),
      }),
      fc.record({
        do: fc.constantFrom("end" as const, "goodbye" as const),
        client: fc.constantFrom("ann", "bob"),
      }),
      fc.record({
        do: fc.constant("network" as const),
        is: fc.constantFrom("up" as const, "deaf" as const, "down" as const),
      }),
      fc.record({ do: fc.constant("crash" as const), survives: fc.boolean() }),
      fc.record({ do: fc.constant("pass" as const) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40, size: "max" }), (steps) => {
        const bench = new Bench();
        const lives = new Map([
          ["ann", 1],
          ["bob", 1],
        ]);
        const now = (client: string) => session(client, `${client}-${lives.get(client)}`);
        /** Clients that must be in a room; undefined: an answer was lost, and it may be either. */
        const sure = new Map<string, boolean | undefined>();
        const over = (client: string) => {
          for (const room of ["a", "b"]) sure.set(`${client} ${room}`, false);
        };
        for (const each of steps) {
          if (each.do === "network") bench.network = each.is;
          else if (each.do === "pass") vi.advanceTimersByTime(RETRY_MS);
          else if (each.do === "crash") {
            if (!each.survives) for (const client of lives.keys()) lives.set(client, lives.get(client)! + 1);
            if (!each.survives) for (const client of lives.keys()) over(client);
            bench.wake(new Set([...lives].map(([client, life]) => `${client}-${life}`)));
          } else if (!("room" in each)) {
            bench.attendance.leaveAll(now(each.client));
            if (each.do === "end") lives.set(each.client, lives.get(each.client)! + 1);
            over(each.client);
          } else {
            const outcome = bench.say(now(each.client), each.room, each.do);
            const key = `${each.client} ${each.room}`;
            sure.set(key, isRefusal(outcome) ? undefined : each.do === "enter");
          }
        }
        bench.network = "up";
        vi.advanceTimersByTime(RETRY_MS * 3);
        for (const [key, there] of sure) {
          const [client, room] = key.split(" ") as [string, string];
          if (there !== undefined) expect([key, bench.who(room).includes(client)]).toEqual([key, there]);
        }
        for (const client of lives.keys()) bench.attendance.leaveAll(now(client));
        vi.advanceTimersByTime(RETRY_MS * 3);
        expect([bench.who("a"), bench.who("b"), bench.rows]).toEqual([[], [], 0]);
      }),
      { numRuns: 500 },
    );
  });
});
