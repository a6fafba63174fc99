// Where sessions live. A session must be found again by every later version, so a few places are written down here.
import { expect, it } from "vitest";
import { gatewayCount, gatewayName } from "../../../worker/gateway/placement.ts";

it("[SES8] a client id always leads to the same gateway", () => {
  const places = ["", "ann", "bob", "日本", "6f1ed002-ab5c-4e1f-9d0c-1d0f7a1b2c3d"].map((id) =>
    gatewayName(id, 16),
  );
  expect(places).toMatchInlineSnapshot(`
    [
      "gateway-1",
      "gateway-0",
      "gateway-6",
      "gateway-4",
      "gateway-10",
    ]
  `);
  expect([undefined, "", "0", "-3", "two", "1.5"].map(gatewayCount)).toEqual([1, 1, 1, 1, 1, 1]);
  expect(gatewayName("ann", gatewayCount("1"))).toBe("gateway-0");
});

it("[SES8] client ids spread evenly, alike ones too", () => {
  for (const gateways of [2, 7, 16]) {
    const counts = new Map<string, number>();
    for (let i = 0; i < 10_000; i += 1) {
      const name = gatewayName(`client-${i}`, gateways);
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    expect(counts.size).toBe(gateways);
    for (const [name, count] of counts) {
      expect(Math.abs(count / (10_000 / gateways) - 1), `${name} of ${gateways}`).toBeLessThan(0.2);
    }
  }
});
