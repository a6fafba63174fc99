// Recurring messages over HTTP, with a restart of the broker between, and what is refused.
import { describe, expect } from "vitest";
import { eventually, expectProblem, queuePath, withBroker } from "./harness.ts";

const it = withBroker();

describe("schedules", () => {
  it("[RCR1] [RCR5] [RCR6] are set, shown, run, changed and removed", async ({ world }) => {
    const path = `${queuePath("clock")}/schedules`;
    const every = { cron: "* * * * * *", message: { body: { n: 1 }, headers: { a: "b" } } };
    const put = await world.call("PUT", `${path}/tick%2Ftock`, every);
    expect(put).toMatchObject({ status: 201, body: { id: "tick/tock", timeZone: "UTC", missed: "skip" } });
    expect(await world.call("PUT", `${path}/other`, { ...every, to: "queue:elsewhere" })).toMatchObject({
      status: 201,
    });
    const [first] = await world.receive("clock", { waitMs: 5_000 });
    expect(first).toMatchObject({ body: { n: 1 }, headers: { a: "b" } });
    expect(first!.messageId).toMatch(/^tick\/tock@\d{4}-/);
    expect(await world.receive("elsewhere", { waitMs: 5_000 })).toHaveLength(1);
    await world.broker.restart();
    await eventually(async () => {
      const { body } = await world.call("GET", `${path}/tick%2Ftock`);
      expect((body as { runs: number }).runs).toBeGreaterThan(2);
    });
    expect((await world.call("GET", path)).body).toMatchObject({
      schedules: [{ id: "other" }, { id: "tick/tock" }],
    });
    expect((await world.call("GET", `${path}?limit=1`)).body).toMatchObject({ next: "other" });
    expect(await world.call("PUT", `${path}/other`, { ...every, cron: "@yearly" })).toMatchObject({
      status: 200,
    });
    expect((await world.call("DELETE", `${path}/tick%2Ftock`)).status).toBe(204);
    expectProblem(await world.call("DELETE", `${path}/tick%2Ftock`), 404, 4, "not-found");
    expectProblem(await world.call("GET", `${path}/none`), 404, 4, "not-found");
  });

  it("[RCR9] what is wrong is named, and nothing is set", async ({ world }) => {
    const path = `${queuePath("q")}/schedules/a`;
    const good = { cron: "* * * * *", message: { body: 1 } };
    for (const wrong of [
      { ...good, cron: "61 * * * *" },
      { ...good, cron: "often" },
      { ...good, timeZone: "Mars/Olympus" },
      { ...good, missed: "all" },
      { ...good, to: "jobs" },
      { ...good, message: { body: 1, delayMs: 5 } },
      { ...good, message: { body: 1, messageId: "m" } },
      { ...good, message: {} },
      { cron: "* * * * *" },
    ]) {
      expectProblem(await world.call("PUT", path, wrong), 400, 1, "bad-field");
    }
    const large = { ...good, message: { body: "x".repeat(70_000) } };
    expectProblem(await world.call("PUT", path, large), 413, 3, "message-too-large");
    expectProblem(await world.call("GET", path), 404, 4, "not-found");
  });
});
