// Deliveries that were on their way to a client's older connection when it came back on a new one.
import { runInDurableObject } from "cloudflare:test";
import { expect, it } from "vitest";
import { Writer } from "../../worker/bytes/writer.ts";
import type { GatewayRpc } from "../../worker/gateway/rpc.ts";
import { DeliveryWriter } from "../../worker/link/deliveries.ts";
import { writeMessage } from "../../worker/message/record.ts";
import { message } from "../support/message.ts";
import { Wire } from "./support/client.ts";
import { gatewayStub } from "./support/objects.ts";

interface Kept {
  ref: number;
  generation: number;
}

/** The only subscription that the gateway keeps. */
async function subscription(): Promise<Kept> {
  return runInDurableObject(gatewayStub(), (_, state) => {
    const rows = state.storage.sql
      .exec<{ ref: number; data: string }>("SELECT ref, data FROM subscription")
      .toArray();
    expect(rows).toHaveLength(1);
    return { ref: rows[0]!.ref, generation: (JSON.parse(rows[0]!.data) as Kept).generation };
  });
}

/** A packet of one delivery, as the queue would send it by a call. */
function packet({ ref, generation }: Kept, lease: number, body: string): Uint8Array {
  const record = new Writer();
  writeMessage(record, message({ body }));
  const deliveries = new DeliveryWriter(1);
  deliveries.add({ ref, generation, position: 65_536, lease, attempt: 1, redelivered: false }, record.take());
  return deliveries.take(1, lease);
}

it("[SES9] are turned away: only those for the new connection reach it", async () => {
  const hello = { client: "ann", session: { expirySeconds: 600 } };
  const first = await Wire.connect(hello);
  await first.ask({ op: "subscribe", sub: 1, to: "queue:generations" });
  const before = await subscription();
  first.close();
  const second = await Wire.connect(hello);
  const after = await subscription();
  expect(after).toEqual({ ref: before.ref, generation: before.generation + 1 });

  const gateway = gatewayStub() as unknown as GatewayRpc;
  await gateway.deliver("default:generations", packet(before, 1, '"for the old one"'));
  await gateway.deliver("default:generations", packet(after, 2, '"for the new one"'));
  expect(await second.take(1)).toMatchObject([{ op: "message", body: "for the new one" }]);
  expect(second.frames).toEqual([]);
  second.close();
});
