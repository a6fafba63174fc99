// What the sessions of a gateway do that the model (test/model/sessions.test.ts) leaves out: queues, subjects, what is taken over.
import { describe, expect, it } from "vitest";
import { ANYONE } from "../../../worker/auth/principal.ts";
import { SessionWorld, will } from "../../support/sessions.ts";

describe("the sessions of a gateway", () => {
  it("[SSN6] pause their queues without a connection, and attach to them again with the next", () => {
    const world = new SessionWorld();
    world.begin("ann", { expirySeconds: 10 });
    const ref = world.consume("ann", 1, "jobs");
    world.lose("ann");
    expect(world.queueCalls.splice(0)).toEqual([`pause ${ref}`]);
    world.restart(() => false);
    expect(world.queueCalls).toEqual([]);
    world.begin("ann", { expirySeconds: 10 });
    expect(world.queueCalls.splice(0)).toEqual([`attach ${ref}`]);
    world.lose("ann");
    world.pass(10_000);
    expect(world.queueCalls).toEqual([`pause ${ref}`, `detach ${ref}`]);
    expect(world.ended).toEqual(["ann"]);
    expect(world.store.subscriptions()).toEqual([]);
  });

  it("[SSN4] that went while the gateway slept leave nothing at queues and topics", () => {
    const world = new SessionWorld();
    world.begin("ann", {});
    const ref = world.consume("ann", 1, "jobs");
    const options = { qos: 1 as const, noLocal: false, retainAsPublished: false, subscriptionId: 0 };
    world.subscribe("ann", 2, "a/#", options);
    world.restart(() => false);
    expect(world.queueCalls).toEqual([`detach ${ref}`]);
    expect(world.abandoned).toEqual(["a/#"]);
    expect(world.store.subscriptions()).toEqual([]);
    world.restart(() => false);
    expect(world.abandoned).toEqual(["a/#"]);
  });

  it("[SSN6] end a shared subscription's queue with its last member", () => {
    const world = new SessionWorld();
    world.begin("ann", {});
    const ref = world.consume("ann", 1, "$share/g/a/b");
    world.lose("ann");
    expect(world.queueCalls).toEqual([`detach ${ref}`, "release $share/g/a/b"]);
  });

  it("[SSN5] belong to the subject that began them", () => {
    const world = new SessionWorld();
    world.begin("ann", { expirySeconds: 10 });
    expect(() => world.begin("ann", { principal: { ...ANYONE, subject: "another" } })).toThrow(
      /another subject/,
    );
    expect(world.connection("ann")?.session).toBeDefined();
    world.lose("ann");
    world.pass(10_000);
    expect(world.begin("ann", { principal: { ...ANYONE, subject: "another" } })).toBe(false);
  });

  it("[SSN5] tell an older connection of the same client that it was taken over, once", () => {
    const world = new SessionWorld();
    world.begin("ann", { expirySeconds: 10 });
    const old = world.connection("ann")!;
    expect(world.begin("ann", { expirySeconds: 10 })).toBe(true);
    expect(world.takenOver).toEqual([old.id]);
    expect(old.session).toBeUndefined();
    // The end of its socket comes later, and ends nothing.
    world.sessions.lost(old, world.now);
    expect(world.connection("ann")!.session?.connection).toBe(world.connection("ann"));
    expect(world.sessions.nextDeadline).toBe(Number.POSITIVE_INFINITY);
  });

  it("[SSN6] a gateway that dies with its sockets counts that as their end", () => {
    const world = new SessionWorld();
    world.begin("ann", { expirySeconds: 10, will: will("ann's", 3) });
    world.begin("bob", { will: will("bob's", 3) });
    world.pass(60_000);
    world.restart(() => false);
    expect(world.wills.splice(0)).toEqual(["bob's"]);
    world.pass(2_999);
    expect(world.wills).toEqual([]);
    world.restart(() => false);
    world.pass(1);
    expect(world.wills).toEqual(["ann's"]);
    world.pass(7_000);
    expect([...world.sessions.of("default")]).toEqual([]);
  });
});
