// The rooms of a topic object against a naive reference: random members enter, update, leave and outlive their time, with evictions and
// limits; and a watcher who only listens always knows who is there.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isRefusal } from "../../worker/errors.ts";
import { messagesIn } from "../support/machine.ts";
import { PresenceMachine, type Told } from "../support/presence.ts";

const RUNS = Number(process.env.MODEL_RUNS ?? 400);
const ROOMS = ["a", "b"];
const MAX_MEMBERS = 3;

type Step =
  | {
      do: "act";
      room: string;
      client: string;
      action: "enter" | "update" | "leave";
      data: number;
      life: number;
      ttlMs: number;
    }
  | { do: "pass"; ms: number }
  | { do: "watch"; room: string }
  | { do: "reopen" };

const room = fc.constantFrom(...ROOMS);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      do: fc.constant("act" as const),
      room,
      client: fc.constantFrom("ann", "bob", "cleo", "dave", "eve"),
      action: fc.constantFrom("enter" as const, "enter" as const, "update" as const, "leave" as const),
      data: fc.integer({ min: 0, max: 2 }),
      // Which of its client's sessions speaks; 0: none.
      life: fc.integer({ min: 0, max: 2 }),
      ttlMs: fc.constantFrom(0, 500, 3_000),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("pass" as const), ms: fc.constantFrom(1, 400, 1_000, 5_000) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("watch" as const), room }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("reopen" as const) }) },
);

interface Known {
  life: number;
  data: number;
  expires: number;
}

/** What a watcher makes of what it hears, as any watcher would. */
class Watcher {
  epoch = 0;
  seq = 0;
  count = 0;
  /** Undefined while only the count is told. */
  members: Map<string, unknown> | undefined = new Map();

  hear(told: Told, epoch: number, isSnapshot: boolean): void {
    if (isSnapshot || epoch > this.epoch) {
      if (!isSnapshot) {
        expect(told.seq).toBe(1);
        this.members = new Map();
      }
    } else expect([epoch, told.seq]).toEqual([this.epoch, this.seq + 1]);
    this.epoch = epoch;
    this.seq = told.seq;
    this.count = told.count;
    if (told.kind === "count") this.members = undefined;
    else if (told.kind === "snapshot")
      this.members = new Map(told.members!.map((each) => [each.client, each.data]));
    else if (told.action === "leave") expect(this.members!.delete(told.client!)).toBe(true);
    else this.members!.set(told.client!, told.data);
    if (this.members !== undefined) expect(this.members.size).toBe(told.count);
  }
}

class Run {
  readonly machine = new PresenceMachine(MAX_MEMBERS);
  readonly rooms = new Map<string, Map<string, Known>>(ROOMS.map((name) => [name, new Map()]));
  readonly watchers = new Map<string, Watcher>();

  step(next: Step): void {
    const { machine } = this;
    if (next.do === "reopen") {
      machine.reopen();
      this.#expire();
      return machine.pass(0);
    }
    if (next.do === "pass") {
      // The object's alarm rings when something is due, and not only when the test looks.
      const until = machine.now + next.ms;
      while (machine.topics.nextDeadline <= until)
        machine.pass(Math.max(0, machine.topics.nextDeadline - machine.now));
      machine.pass(until - machine.now);
      return this.#expire();
    }
    if (next.do === "watch") return this.#watch(next.room);
    this.#act(next);
  }

  /** After every step: members are as the reference has them, and watchers know what they can. */
  check(): void {
    for (const { topic, seq, epoch, body } of this.machine.at("gateway-0").got.splice(0)) {
      const watcher = this.watchers.get(topic.slice("$presence/".length))!;
      watcher.hear({ ...(JSON.parse(String(body)) as Told), seq }, epoch, false);
    }
    for (const name of ROOMS) {
      const known = this.rooms.get(name)!;
      const now = this.machine.snapshot(name);
      expect(now.count).toBe(known.size);
      if (known.size > MAX_MEMBERS) expect(now.kind).toBe("count");
      if (now.kind === "snapshot") {
        const members = now.members!.map(({ client, data }) => [client, data]).sort();
        expect(members).toEqual([...known].map(([client, { data }]) => [client, data]).sort());
      }
      const watcher = this.watchers.get(name);
      if (watcher === undefined || now.kind === "count") continue;
      expect(watcher.count).toBe(known.size);
      expect(Object.fromEntries(watcher.members!)).toEqual(
        Object.fromEntries([...known].map(([client, { data }]) => [client, data])),
      );
    }
  }

  /** At the end a moment without changes passes: then every watcher knows at least how many there are. */
  finish(): void {
    this.step({ do: "pass", ms: 10_000 });
    this.check();
    for (const [name, watcher] of this.watchers) expect(watcher.count).toBe(this.rooms.get(name)!.size);
    const stored = this.machine.sql.all("SELECT name FROM sqlite_master WHERE name = 'member'");
    const rows = stored.length === 0 ? [] : this.machine.sql.all("SELECT room, client FROM member");
    expect(rows.length).toBe([...this.rooms.values()].reduce((sum, { size }) => sum + size, 0));
  }

  #act({ room: name, client, action, data, life, ttlMs }: Step & { do: "act" }): void {
    const { now } = this.machine;
    const needed = life === 0 && ttlMs === 0 ? 500 : ttlMs;
    const session = life === 0 ? "" : `${client} ${life}`;
    const acting = { session, ...(needed > 0 ? { ttlMs: needed } : {}) };
    const outcome = this.machine.act(name, client, action, data, acting);
    const known = this.rooms.get(name)!;
    const there = known.get(client);
    if (there !== undefined && there.life > 0 && life === 0) {
      expect(outcome).toMatchObject({ kind: "conflict" });
      return;
    }
    if (isRefusal(outcome)) throw new Error(outcome.message);
    if (action !== "leave")
      known.set(client, { life, data, expires: needed > 0 ? now + needed : Number.POSITIVE_INFINITY });
    else if (there?.life === life) known.delete(client);
  }

  #watch(name: string): void {
    const { packet } = this.machine.watch(name);
    const [found] = messagesIn(packet.records());
    const watcher = new Watcher();
    watcher.hear({ ...(JSON.parse(String(found!.body)) as Told), seq: found!.seq }, found!.epoch, true);
    this.watchers.set(name, watcher);
  }

  #expire(): void {
    for (const known of this.rooms.values()) {
      for (const [client, { expires }] of known) if (expires <= this.machine.now) known.delete(client);
    }
  }
}

describe("rooms", () => {
  it("[PRS1] [PRS2] [PRS3] [PRS4] [PRS6] [PRS8] [PRS9] behave as the reference, whatever happens between two steps", () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 60, size: "max" }), (steps) => {
        const run = new Run();
        for (const each of steps) {
          run.step(each);
          run.check();
        }
        run.finish();
      }),
      { numRuns: RUNS },
    );
  });
});
