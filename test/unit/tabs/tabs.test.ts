import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { sharedOn } from "../../../client/tabs/shared-socket.ts";
import { FakeBroker } from "./fake-broker.ts";
import { FakeBrowser, settle } from "./fake-platform.ts";
import { NaiveClient } from "./naive-client.ts";

const IDLE_MS = 30_000;

/** Tabs of one origin, and their broker. */
class World {
  readonly broker = new FakeBroker();
  readonly browser = new FakeBrowser((_url, owner) => this.broker.connect(owner));
  readonly clients: NaiveClient[] = [];
  readonly dead: NaiveClient[] = [];
  readonly #frozen = new Set<NaiveClient>();
  #count = 0;

  constructor() {
    this.broker.browser = this.browser;
  }

  open(): NaiveClient {
    const owner = this.clients.length + this.dead.length + 1;
    const client = new NaiveClient(
      this.browser,
      owner,
      sharedOn(this.browser.platform(owner), "shop", "origin"),
    );
    this.clients.push(client);
    return client;
  }

  kill(client: NaiveClient): void {
    this.browser.kill(client.tab);
    this.broker.tabDied(client.tab);
    this.#remove(client);
  }

  bye(client: NaiveClient): void {
    client.bye();
    this.#remove(client);
  }

  publish(client: NaiveClient): void {
    this.#count += 1;
    client.publish(`m${this.#count}`);
  }

  freeze(client: NaiveClient): void {
    this.#frozen.add(client);
    this.browser.freeze(client.tab);
  }

  thawAll(): void {
    for (const { tab } of this.#frozen) this.browser.thaw(tab);
    this.#frozen.clear();
  }

  /** Everything arrives, and everyone works, until nothing is left to do. */
  async rest(): Promise<void> {
    for (let round = 0; round < 40; round++) {
      await this.browser.run();
      // Closed before they were connected, some could say no word of it.
      for (const { tab } of this.dead) await this.browser.tick(tab, IDLE_MS);
      await this.browser.run();
      const isDone = this.clients.every(
        (client) => client.isOpen && client.unanswered === 0 && client.inHand.size === 0,
      );
      if (isDone && this.browser.waiting.every((line) => this.browser.isFrozen(line))) return;
      for (const client of this.clients) client.work();
      for (const { tab } of this.clients) await this.browser.tick(tab);
    }
    const states = this.clients.map(
      (client) => `${client.tab}: open ${client.isOpen} unanswered ${client.unanswered}`,
    );
    throw new Error(`no rest: ${states.join("; ")}; ${this.browser.waiting.join(" ")}`);
  }

  #remove(client: NaiveClient): void {
    this.clients.splice(this.clients.indexOf(client), 1);
    this.dead.push(client);
  }
}

let world = new World();
afterEach(() => {
  world = new World();
});

describe("tabs of one origin", () => {
  it("[TAB1] share one socket, and each gets its own answers and messages", async () => {
    const tabs = [world.open(), world.open(), world.open()];
    await world.rest();
    for (const tab of tabs) tab.consume();
    await world.rest();
    for (let n = 0; n < 9; n++) world.publish(tabs[n % 3]!);
    await world.rest();
    expect(world.broker.sockets.length).toBe(1);
    for (const tab of tabs) {
      expect(tab.complaints).toEqual([]);
      expect(tab.acked.length).toBe(3);
      expect(tab.confirmed.size).toBe(3);
    }
  });

  it("[TAB3] another tab goes on when the leader dies: sessions, subscriptions and what is in hand stay", async () => {
    const [leader, one, two] = [world.open(), world.open(), world.open()];
    await world.rest();
    for (const tab of [leader, one, two]) tab.consume();
    await world.browser.run();
    for (let n = 0; n < 6; n++) world.publish(one);
    await world.browser.run();
    expect(one.inHand.size).toBe(2);
    world.kill(leader);
    await world.rest();
    expect(world.broker.connected).toBe(1);
    expect(one.welcomes).toEqual([false, true]);
    expect(two.welcomes).toEqual([false, true]);
    // What the dead one had came to the others.
    expect([...one.acked, ...two.acked].sort()).toEqual(["m1", "m2", "m3", "m4", "m5", "m6"]);
    expect([...one.lost, ...two.lost]).toEqual([]);
    expect(world.broker.subscriptions.length).toBe(2);
  });

  it("[TAB4] what a tab held that died goes to the others at once", async () => {
    const [leader, one] = [world.open(), world.open()];
    await world.rest();
    one.consume();
    await world.browser.run();
    world.publish(leader);
    await world.browser.run();
    expect(one.inHand.size).toBe(1);
    world.kill(one);
    leader.consume();
    await world.rest();
    expect(leader.acked).toEqual(["m1"]);
    expect(world.broker.sockets.length).toBe(1);
  });

  it("[TAB4] one that says bye ends only its own; the last one's ends the connection", async () => {
    const [leader, one] = [world.open(), world.open()];
    await world.rest();
    for (const tab of [leader, one]) tab.consume();
    await world.rest();
    world.bye(one);
    await world.rest();
    expect(world.broker.subscriptions.length).toBe(1);
    expect(leader.isOpen).toBe(true);
    world.bye(leader);
    await world.browser.run();
    expect(world.broker.connected).toBe(0);
    expect(world.broker.sockets.length).toBe(1);
  });

  it("[TAB5] a leader that is put away steps down at once", async () => {
    const [leader, one] = [world.open(), world.open()];
    await world.rest();
    world.browser.suspend(leader.tab);
    world.freeze(leader);
    one.consume();
    world.publish(one);
    await world.browser.run();
    one.work();
    await world.browser.run();
    expect(one.acked).toEqual(["m1"]);
    world.thawAll();
    await world.rest();
    expect(leader.isOpen).toBe(true);
    expect(world.broker.connected).toBe(1);
  });

  it("[TAB5] a leader that says nothing for long is robbed of its place, and finds it again among the others", async () => {
    const [leader, one] = [world.open(), world.open()];
    await world.rest();
    for (const tab of [leader, one]) tab.consume();
    await world.rest();
    world.freeze(leader);
    world.publish(one);
    await world.browser.run();
    one.giveUp();
    for (let beat = 0; beat < 12; beat++) {
      await world.browser.tick(one.tab);
      await world.browser.run();
    }
    expect(one.isOpen).toBe(true);
    expect(one.confirmed.size).toBe(1);
    world.thawAll();
    await world.rest();
    expect(leader.isOpen).toBe(true);
    expect(leader.states).not.toContain("closed 4409");
    expect([...leader.acked, ...one.acked]).toEqual(["m1"]);
    expect(world.broker.connected).toBe(1);
  });

  it("[TAB5] one that was robbed, and hears of it only after it has taken the session, ends nobody's client", async () => {
    const leader = world.open();
    while (world.browser.waiting.includes("lock>1")) await world.browser.step("lock>1");
    await world.browser.step("socket0>broker");
    world.freeze(leader);
    const other = world.open();
    for (let beat = 0; beat < 12; beat++) {
      await world.browser.tick(other.tab);
      await world.browser.run();
    }
    expect(other.isOpen).toBe(true);
    world.thawAll();
    await world.rest();
    expect(other.states).toEqual(["closed 1012"]);
    expect(leader.states).not.toContain("closed 4409");
    expect(leader.isOpen && other.isOpen).toBe(true);
    expect(world.broker.connected).toBe(1);
  });
});

type Step = { do: string; of: number };
const steps = fc.array(
  fc.record({
    do: fc.constantFrom(
      ...[
        "publish",
        "publish",
        "publish",
        "work",
        "work",
        "consume",
        "consume",
        "arrive",
        "arrive",
        "arrive",
        "arrive",
      ],
      ...[
        "arrive",
        "arrive",
        "arrive",
        "open",
        "kill",
        "bye",
        "cut",
        "suspend",
        "freeze",
        "thaw",
        "tick",
        "giveUp",
        "idle",
        "expire",
      ],
    ),
    of: fc.nat(1_000),
  }),
  { minLength: 20, maxLength: 120, size: "max" },
);

async function take(step: Step): Promise<void> {
  const { clients, browser, broker } = world;
  const client = clients[step.of % Math.max(1, clients.length)];
  if (step.do === "arrive") {
    const lines = browser.waiting.filter((line) => !browser.isFrozen(line));
    if (lines.length > 0) await browser.step(lines[step.of % lines.length]!);
  } else if (step.do === "open" && clients.length < 5) world.open();
  else if (step.do === "cut") broker.cut();
  else if (step.do === "thaw") world.thawAll();
  else if (step.do === "expire") broker.expire();
  else if (client === undefined) return;
  else if (browser.isFrozen(`>${client.tab}`)) return;
  else if (step.do === "publish") world.publish(client);
  else if (step.do === "work") client.work();
  else if (step.do === "consume") client.consume();
  else if (step.do === "kill") world.kill(client);
  else if (step.do === "bye") world.bye(client);
  else if (step.do === "suspend") browser.suspend(client.tab);
  else if (step.do === "freeze") world.freeze(client);
  else if (step.do === "giveUp") client.giveUp();
  else if (step.do === "idle") await browser.tick(client.tab, IDLE_MS);
  else if (step.do === "tick") for (let beat = 0; beat < 9; beat++) await browser.tick(client.tab);
  await settle();
}

describe("in any order", () => {
  it("[TAB6] tabs open, die, freeze and lead: every publish is stored once, every delivery is settled once, every request answered", async () => {
    const run = fc.asyncProperty(steps, async (list) => {
      world = new World();
      for (const tab of [world.open(), world.open(), world.open()]) tab.consume();
      for (const step of list) await take(step);
      world.thawAll();
      const last = world.open();
      last.consume();
      await world.rest();
      // A subscription that a dead tab has left ends when the first message comes for it.
      for (let n = 0; n < 20; n++) world.publish(last);
      await world.rest();
      const all = [...world.clients, ...world.dead];
      expect(all.flatMap(({ complaints }) => complaints)).toEqual([]);
      expect(world.broker.complaints).toEqual([]);
      for (const { published, confirmed } of world.clients) expect(confirmed).toEqual(published);
      const ids = world.broker.messages.map(({ messageId }) => messageId);
      expect(new Set(ids).size).toBe(ids.length);
      for (const { confirmed } of all) for (const id of confirmed) expect(ids).toContain(id);
      expect(world.broker.messages.filter(({ settled }) => !settled)).toEqual([]);
      const acked = all.flatMap((client) => client.acked);
      expect(new Set(acked).size).toBe(acked.length);
      expect(world.broker.connected).toBe(1);
      const subs = world.broker.subscriptions.map((sub) => Math.floor(sub / 2 ** 29));
      expect(subs.length).toBeLessThanOrEqual(world.clients.length);
    });
    await fc.assert(run, { numRuns: Number(process.env.TAB_RUNS ?? 200) });
  });
});
