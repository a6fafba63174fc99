// Redrive over HTTP: from the queue of dead letters or the one they died in, its figures and its refusals.
import { describe, expect } from "vitest";
import { eventually, expectProblem, queuePath, type World, withBroker } from "./harness.ts";

const it = withBroker();

async function kill(world: World, queue: string, count: number): Promise<void> {
  for (let n = 0; n < count; n++)
    await world.publish(queue, n, { "dunlin-header-kind": n % 2 ? "odd" : "even" });
  const messages = await world.receive(queue, { max: count });
  const dead = messages.map(({ delivery }) => ({ delivery, reason: "bad" }));
  await world.settle(queue, { dead });
  await eventually(async () => expect(await world.stats(`${queue}.dead`)).toMatchObject({ ready: count }));
}

describe.concurrent("redrive", () => {
  it("[RDV1] [RDV8] from either end, with the history of deaths kept", async ({ world }) => {
    await kill(world, "jobs", 4);
    const path = `${queuePath("jobs.dead")}/redrive`;
    expectProblem(await world.call("GET", path), 404, 4, "not-found");
    const first = await world.call("POST", path, { filter: "kind = 'odd'", max: 1 });
    expect(first).toMatchObject({ status: 200, body: { moved: 1, running: false, filter: "kind = 'odd'" } });
    const rest = await world.call("POST", `${queuePath("jobs")}/redrive`, {});
    expect(rest).toMatchObject({ status: 200, body: { moved: 3, origin: "jobs" } });
    await eventually(async () => expect(await world.stats("jobs")).toMatchObject({ ready: 4 }));
    const [message] = await world.receive("jobs");
    expect(message).toMatchObject({ body: 1, attempt: 1, deaths: [{ queue: "jobs", reason: "rejected" }] });
    expect((await world.call("GET", path)).body).toMatchObject({ moved: 3, running: false });
  });

  it("[RDV5] [RDV6] at a rate: 202, 409 for a second one, and DELETE ends it", async ({ world }) => {
    await kill(world, "slow", 3);
    const path = `${queuePath("slow.dead")}/redrive`;
    expect(await world.call("POST", path, { perSecond: 1, to: "other" })).toMatchObject({
      status: 202,
      body: { running: true, moved: 1, to: "other" },
    });
    expectProblem(await world.call("POST", path, {}), 409, 4, "conflict");
    expect(await world.call("DELETE", path)).toMatchObject({ status: 200, body: { running: false } });
    await eventually(async () => expect(await world.stats("other")).toMatchObject({ ready: 1 }));
  });

  it("[RDV8] a task at a rate is shown and ended from the queue they died in as well", async ({ world }) => {
    await kill(world, "home", 3);
    // Messages of the queue itself are not in the way.
    for (let n = 0; n < 2; n++) await world.publish("home", n);
    const path = `${queuePath("home")}/redrive`;
    const begun = { status: 202, body: { running: true, moved: 1, origin: "home" } };
    expect(await world.call("POST", path, { perSecond: 1 })).toMatchObject(begun);
    expect(await world.call("GET", path)).toMatchObject(begun);
    expect(await world.call("DELETE", path)).toMatchObject({ status: 200, body: { running: false } });
    expect(await world.call("GET", `${queuePath("home.dead")}/redrive`)).toMatchObject({
      body: { running: false, origin: "home" },
    });
  });

  it("[RDV9] a wrong field, target or queue is refused, and nothing moves", async ({ world }) => {
    await kill(world, "q", 1);
    const path = `${queuePath("q.dead")}/redrive`;
    for (const wrong of [
      { max: 0 },
      { perSecond: 0 },
      { to: "q.dead" },
      { to: "a+b" },
      { filter: "kind =" },
    ]) {
      expectProblem(await world.call("POST", path, wrong), 400, 1, "bad-field");
    }
    expectProblem(await world.call("POST", `${queuePath("none")}/redrive`, {}), 404, 4, "not-found");
    expect(await world.stats("q.dead")).toMatchObject({ ready: 1 });
  });
});
