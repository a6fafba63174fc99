// The sessions of a gateway and their fan-out against a naive reference, under random commands, with restarts between any two of them
// in which sockets are kept or lost.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Delivered, SessionWorld, will } from "../support/sessions.ts";
import { slowMatches } from "../unit/filter/reference.ts";

const RUNS = Number(process.env.MODEL_RUNS ?? 400);
const CLIENTS = ["ann", "bob", "cid"];
const FILTERS = ["a", "a/b", "a/#", "+/b", "#", "$x/#", "/+", "a/+/c"];
const TOPICS = ["a", "a/b", "a/b/c", "/b", "$x/b", "c"];

type Step =
  | { do: "begin"; client: string; clean: boolean; expiry: number; will: boolean; delay: number }
  | { do: "lose"; client: string }
  | { do: "leave"; client: string; expiry: number | undefined }
  | { do: "subscribe"; client: string; filter: number }
  | { do: "unsubscribe"; client: string; filter: number }
  | { do: "publish"; topics: string[] }
  | { do: "pass"; seconds: number }
  | { do: "restart"; kept: string[] };

const client = fc.constantFrom(...CLIENTS);
const filter = fc.nat({ max: FILTERS.length - 1 });
const seconds = fc.constantFrom(0, 0, 5, 20, Number.POSITIVE_INFINITY);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      ...{ do: fc.constant("begin" as const), client, clean: fc.boolean(), expiry: seconds },
      ...{ will: fc.boolean(), delay: fc.constantFrom(0, 3, 10, 50) },
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("lose" as const), client }) },
  {
    weight: 1,
    arbitrary: fc.record({
      ...{ do: fc.constant("leave" as const), client },
      expiry: fc.constantFrom(undefined, 0, 7),
    }),
  },
  { weight: 5, arbitrary: fc.record({ do: fc.constant("subscribe" as const), client, filter }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("unsubscribe" as const), client, filter }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("publish" as const),
      topics: fc.array(fc.constantFrom(...TOPICS), { minLength: 1, maxLength: 5 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("pass" as const), seconds: fc.constantFrom(1, 4, 9, 30) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("restart" as const), kept: fc.subarray(CLIENTS) }),
  },
);

/** A session as the reference knows it. */
interface Plain {
  filters: Set<number>;
  expiry: number;
  connected: boolean;
  endsAt: number;
  will: { body: string; delay: number; dueAt: number } | undefined;
}

const NEVER = Number.POSITIVE_INFINITY;

/** The rules as plainly as they read. */
class Reference {
  readonly sessions = new Map<string, Plain>();
  wills: string[] = [];
  now = 0;

  begin(client: string, clean: boolean, expiry: number, body: string | undefined, delay: number): boolean {
    const known = this.sessions.get(client);
    const resumed = known !== undefined && known.expiry > 0 && !clean;
    if (known !== undefined && !resumed) this.end(client);
    // A connection that is taken over leaves its will behind, unless that would have waited.
    else if (known?.connected === true && known.will?.delay === 0) this.leaveWill(known);
    const session = resumed ? known : { filters: new Set<number>() };
    const will = body === undefined ? undefined : { body, delay, dueAt: NEVER };
    this.sessions.set(client, { ...session, expiry, connected: true, endsAt: NEVER, will });
    return resumed;
  }

  lose(client: string): void {
    const session = this.sessions.get(client);
    if (session?.connected !== true) return;
    session.connected = false;
    if (session.expiry === 0) return this.end(client);
    session.endsAt = this.now + session.expiry * 1_000;
    if (session.will !== undefined) session.will.dueAt = this.now + session.will.delay * 1_000;
    this.pass(0);
  }

  leave(client: string, expiry: number | undefined): void {
    const session = this.sessions.get(client)!;
    session.will = undefined;
    session.expiry = expiry ?? session.expiry;
    this.lose(client);
  }

  pass(ms: number): void {
    this.now += ms;
    for (const [client, session] of [...this.sessions]) {
      if (session.endsAt <= this.now) this.end(client);
      else if (session.will !== undefined && session.will.dueAt <= this.now) this.leaveWill(session);
    }
  }

  publish(topics: string[]): Delivered[] {
    const delivered: Delivered[] = [];
    for (const [at, topic] of topics.entries()) {
      for (const [client, { filters }] of this.sessions) {
        const subs = [...filters].filter((each) => slowMatches(FILTERS[each]!, topic)).sort((a, b) => a - b);
        if (subs.length > 0) delivered.push({ client, topic, body: `${at}`, subs });
      }
    }
    return delivered;
  }

  private end(client: string): void {
    this.leaveWill(this.sessions.get(client)!);
    this.sessions.delete(client);
  }

  private leaveWill(session: Plain): void {
    if (session.will !== undefined) this.wills.push(session.will.body);
    session.will = undefined;
  }
}

const OPTIONS = { qos: 1 as const, noLocal: false, retainAsPublished: false, subscriptionId: 0 };

function text(delivered: Delivered[]): string[] {
  return delivered.map(({ client, topic, body, subs }) => `${body} ${topic} ${client} ${subs.join()}`).sort();
}

/** Both sides, step by step. */
class Run {
  readonly world = new SessionWorld();
  readonly reference = new Reference();
  #bodies = 0;

  step(step: Step): void {
    const { world, reference } = this;
    const start = world.now;
    reference.now = start;
    this.#do(step);
    // Publishing makes the world's clock tick.
    reference.pass(world.now - reference.now);
    world.pass(0);
    this.#compare();
  }

  #do(step: Step): void {
    const { world, reference } = this;
    switch (step.do) {
      case "begin": {
        const { clean, expiry, delay } = step;
        const body = step.will ? `will ${++this.#bodies}` : undefined;
        const fields = {
          clean,
          expirySeconds: expiry,
          will: body === undefined ? undefined : will(body, delay),
        };
        expect(world.begin(step.client, fields)).toBe(
          reference.begin(step.client, clean, expiry, body, delay),
        );
        return;
      }
      case "lose":
        world.lose(step.client);
        return reference.lose(step.client);
      case "leave":
        if (world.connection(step.client) === undefined) return;
        // A session that ends with its connection cannot be kept at its end.
        if (reference.sessions.get(step.client)!.expiry === 0 && step.expiry !== 0) return;
        world.leave(step.client, step.expiry);
        return reference.leave(step.client, step.expiry);
      case "subscribe":
        if (world.connection(step.client) === undefined) return;
        world.subscribe(step.client, step.filter, FILTERS[step.filter]!, OPTIONS);
        reference.sessions.get(step.client)!.filters.add(step.filter);
        return;
      case "unsubscribe":
        if (world.connection(step.client) === undefined) return;
        world.unsubscribe(step.client, step.filter);
        reference.sessions.get(step.client)!.filters.delete(step.filter);
        return;
      case "publish": {
        const { delivered, unwanted } = world.publish(step.topics);
        const expected = reference.publish(step.topics);
        expect(text(delivered)).toEqual(text(expected));
        const wanted = new Set(expected.map(({ topic }) => topic));
        expect(unwanted.sort()).toEqual(
          [...new Set(step.topics)].filter((topic) => !wanted.has(topic)).sort(),
        );
        return;
      }
      case "pass":
        reference.pass(step.seconds * 1_000);
        return world.pass(step.seconds * 1_000);
      case "restart":
        world.restart((each) => step.kept.includes(each));
        for (const each of CLIENTS) if (!step.kept.includes(each)) reference.lose(each);
    }
  }

  #compare(): void {
    const { world, reference } = this;
    expect(world.wills.splice(0).sort()).toEqual(reference.wills.splice(0).sort());
    const found = [...world.sessions.of("default")].map((session) => [
      session.client,
      session.connection !== undefined,
      [...session.subscriptions.keys()].sort((a, b) => a - b),
    ]);
    const expected = [...reference.sessions].map(([each, { connected, filters }]) => [
      each,
      connected,
      [...filters].sort((a, b) => a - b),
    ]);
    expect(found.sort()).toEqual(expected.sort());
    const kept = [...reference.sessions].filter(([, plain]) => plain.expiry > 0 || plain.will !== undefined);
    expect(
      world.store
        .sessions()
        .map((saved) => saved.client)
        .sort(),
    ).toEqual(kept.map(([each]) => each).sort());
    const filters = [...reference.sessions.values()].reduce((sum, plain) => sum + plain.filters.size, 0);
    expect(world.store.subscriptions()).toHaveLength(filters);
    for (const { endsAt, will: left } of reference.sessions.values()) {
      expect(world.sessions.nextDeadline).toBeLessThanOrEqual(Math.min(endsAt, left?.dueAt ?? NEVER));
    }
  }
}

describe("the sessions of a gateway", () => {
  it("[SSN5] [SSN6] go as the plain rules say, whoever comes, goes, subscribes and publishes, over restarts", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60, size: "max" }), (steps) => {
        const run = new Run();
        for (const each of steps) run.step(each);
      }),
      { numRuns: RUNS },
    );
  });
});
