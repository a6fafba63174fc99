// Consuming over HTTP: receive (long poll) and settle. Leases and their limits are the queue's.
import { isRefusal, type Refusal } from "../errors.ts";
import { MAX_BATCH, MAX_LEASE_MS, MAX_RECEIVE_WAIT_MS, MIN_LEASE_MS } from "../limits.ts";
import { CommandWriter } from "../link/commands.ts";
import { DeliveryView } from "../link/deliveries.ts";
import { formatHandle, parseHandle } from "../link/handle.ts";
import { type QueueResult, readResults } from "../link/results.ts";
import { HANDLE, SETTLE_FIELDS, settlementsOf } from "../link/settle-fields.ts";
import { queueMessageFields, quote } from "../message/json.ts";
import { object } from "../schema.ts";
import { checkFilterField } from "../selector/selector.ts";
import { json, jsonText, reach } from "./answer.ts";
import type { QueueCall } from "./call.ts";
import { readJson } from "./input.ts";

const LEASE = { type: "integer", minimum: MIN_LEASE_MS, maximum: MAX_LEASE_MS } as const;

const RECEIVE = object(
  {
    max: { type: "integer", minimum: 1, maximum: MAX_BATCH },
    waitMs: { type: "integer", minimum: 0, maximum: MAX_RECEIVE_WAIT_MS },
    leaseMs: LEASE,
    filter: { type: "any" },
  },
  [],
);

const SETTLE = object(
  {
    ...SETTLE_FIELDS.fields,
    extend: {
      type: "array",
      items: object({ delivery: HANDLE, leaseMs: LEASE }, ["delivery", "leaseMs"]),
      // settlementsOf counts these too.
      maxItems: Number.MAX_SAFE_INTEGER,
    },
  },
  [],
);

/** Leases messages to the caller, waiting for the first if asked to. */
export async function receive(call: QueueCall): Promise<Response | Refusal> {
  const read = await readJson(call.request, RECEIVE);
  if (isRefusal(read)) return read;
  const { max = 1, waitMs = 0, leaseMs } = read.value;
  const filter = checkFilterField(read.value.filter);
  if (isRefusal(filter)) return filter;
  const packet = await reach(call.queue.receive({ max, waitMs, leaseMs, filter }));
  if (isRefusal(packet)) return packet;
  const address = quote(`queue:${call.name}`);
  const messages: string[] = [];
  const delivery = new DeliveryView(packet);
  for (; delivery.valid; delivery.next()) {
    messages.push(
      `{"delivery":"${formatHandle(delivery.position, delivery.lease)}","attempt":${delivery.attempt},` +
        `"redelivered":${delivery.redelivered},"to":${address},"epoch":${delivery.epoch},` +
        `${queueMessageFields(delivery.message.decode())}}`,
    );
  }
  return jsonText(`{"messages":[${messages.join(",")}]}`);
}

/** Settles deliveries and extends leases: what is lost is listed, and changes nothing. */
export async function settle(call: QueueCall): Promise<Response | Refusal> {
  const read = await readJson(call.request, SETTLE);
  if (isRefusal(read)) return read;
  const { extend = [], ...lists } = read.value;
  const settles = settlementsOf(lists, extend.length);
  if (isRefusal(settles)) return settles;

  const packet = new CommandWriter();
  // The handles as they were given, command by command: results come in that order.
  const asked = [settles.deliveries];
  packet.command({ type: "settle", settlements: settles.settlements });
  for (const [leaseMs, group] of Map.groupBy(extend, (extension) => extension.leaseMs)) {
    packet.command({ type: "extend", leaseMs, handles: group.map(({ delivery }) => parseHandle(delivery)) });
    asked.push(group.map(({ delivery }) => delivery));
  }
  const answer = await reach(call.queue.apply(packet.take()));
  if (isRefusal(answer)) return answer;
  const lost = lostOf(asked, readResults(answer.results).results);
  if (isRefusal(lost)) return lost;
  return json({ settled: settles.deliveries.length - lost[0]!.length, lost: lost.flat() });
}

/** The lost handles of each command. */
function lostOf(asked: string[][], results: QueueResult[]): string[][] | Refusal {
  const lost: string[][] = [];
  for (const [index, deliveries] of asked.entries()) {
    const result = results[index];
    if (result?.type === "refused") return result.refusal;
    if (result?.type !== "settled") throw new TypeError(`a settle was answered with ${result?.type}`);
    lost.push(deliveries.filter((_, at) => !result.settled[at]));
  }
  return lost;
}
