// A handler beside a local broker: DUNLIN_HANDLERS, with examples/worker-handler.ts as it stands.
import { fileURLToPath } from "node:url";
import { describe, expect } from "vitest";
import { readHandlers } from "../../local/handlers.ts";
import { eventually, queuePath, withBroker } from "./harness.ts";

const FILE = fileURLToPath(new URL("../../examples/worker-handler.ts", import.meta.url));
const it = withBroker({ env: { DUNLIN_HANDLERS: `HANDLER_ORDERS=${FILE}` } });

describe("a handler beside a local broker", () => {
  it("[PSH13] takes the messages of the queue that names it, over a restart", async ({ world }) => {
    const path = `${queuePath("orders")}/push`;
    expect(await world.call("PUT", path, { service: "HANDLER_ORDERS" })).toMatchObject({ status: 201 });
    await world.publish("orders", { id: 7, item: "a kettle" });
    await world.publish("orders", { item: "no number" });
    await eventually(async () =>
      expect(await world.stats("orders")).toMatchObject({ settled: 1, deadLettered: 1 }),
    );
    await world.broker.restart();
    await world.publish("orders", { id: 8, item: "a pan" });
    await eventually(async () => expect(await world.stats("orders")).toMatchObject({ settled: 2 }));
    await eventually(() => {
      expect(world.broker.output()).toContain("order 7: a kettle is on its way");
      expect(world.broker.output()).toContain("order 8: a pan is on its way");
    });
  });

  it("[PSH13] what DUNLIN_HANDLERS cannot be is named", () => {
    expect([...readHandlers(" HANDLER_A=./a.ts , HANDLER_B = b.ts,")]).toEqual([
      ["HANDLER_A", "./a.ts"],
      ["HANDLER_B", "b.ts"],
    ]);
    for (const wrong of ["./a.ts", "ORDERS=./a.ts", "HANDLER_A=", "HANDLER_A=a.ts,HANDLER_A=b.ts"]) {
      expect(() => readHandlers(wrong), wrong).toThrow("DUNLIN_HANDLERS is");
    }
  });
});
