// Consuming over HTTP: receive (long poll) and settle. Leases and their limits are the queue's.
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import {
  MAX_BATCH,
  MAX_DELAY_MS,
  MAX_LEASE_MS,
  MAX_REASON_CHARS,
  MAX_RECEIVE_WAIT_MS,
  MIN_LEASE_MS,
} from "../limits.ts";
import { CommandWriter, type Settlement } from "../link/commands.ts";
import { DeliveryView } from "../link/deliveries.ts";
import { formatHandle, type Handle, parseHandle } from "../link/handle.ts";
import { type QueueResult, readResults } from "../link/results.ts";
import { messageFields, quote } from "../message/json.ts";
import { type Infer, object, type Spec } from "../schema.ts";
import { json, jsonText, reach } from "./answer.ts";
import type { QueueCall } from "./call.ts";
import { readJson } from "./input.ts";

const LEASE = { type: "integer", minimum: MIN_LEASE_MS, maximum: MAX_LEASE_MS } as const;
const DELIVERY = { type: "string", maxLength: 256 } as const;
const REASON = { type: "string", maxLength: MAX_REASON_CHARS } as const;

const RECEIVE = object(
  {
    max: { type: "integer", minimum: 1, maximum: MAX_BATCH },
    waitMs: { type: "integer", minimum: 0, maximum: MAX_RECEIVE_WAIT_MS },
    leaseMs: LEASE,
  },
  [],
);

const SETTLE = object(
  {
    ack: list(DELIVERY),
    release: list(DELIVERY),
    fail: list(
      object(
        {
          delivery: DELIVERY,
          reason: REASON,
          delayMs: { type: "integer", minimum: 0, maximum: MAX_DELAY_MS },
        },
        ["delivery"],
      ),
    ),
    dead: list(object({ delivery: DELIVERY, reason: REASON }, ["delivery"])),
    extend: list(object({ delivery: DELIVERY, leaseMs: LEASE }, ["delivery", "leaseMs"])),
  },
  [],
);

/** How many handles one settle holds is checked over all lists. */
function list<const S extends Spec>(items: S) {
  return { type: "array", items, maxItems: Number.MAX_SAFE_INTEGER } as const;
}

/** Leases messages to the caller, waiting for the first if asked to. */
export async function receive(call: QueueCall): Promise<Response | Refusal> {
  const read = await readJson(call.request, RECEIVE);
  if (isRefusal(read)) return read;
  const { max = 1, waitMs = 0, leaseMs } = read.value;
  const packet = await reach(call.queue.receive(max, waitMs, leaseMs));
  if (isRefusal(packet)) return packet;
  const address = quote(`queue:${call.name}`);
  const messages: string[] = [];
  const delivery = new DeliveryView(packet);
  for (; delivery.valid; delivery.next()) {
    messages.push(
      `{"delivery":"${formatHandle(delivery.position, delivery.lease)}","attempt":${delivery.attempt},` +
        `"redelivered":${delivery.redelivered},"to":${address},"epoch":${delivery.epoch},` +
        `${messageFields(delivery.message.decode())}}`,
    );
  }
  return jsonText(`{"messages":[${messages.join(",")}]}`);
}

/** Settles deliveries and extends leases: what is lost is listed, and changes nothing. */
export async function settle(call: QueueCall): Promise<Response | Refusal> {
  const read = await readJson(call.request, SETTLE);
  if (isRefusal(read)) return read;
  const settles = settlementsOf(read.value);
  const extensions = read.value.extend ?? [];
  const count = settles.length + extensions.length;
  if (count > MAX_BATCH) {
    return refuse("batch-too-large", `a settle has at most ${MAX_BATCH} deliveries, got ${count}`);
  }
  if (count === 0) return json({ settled: 0, lost: [] });

  const packet = new CommandWriter();
  // The handles as they were given, command by command: results come in that order.
  const asked: string[][] = [];
  if (settles.length > 0) {
    packet.command({ type: "settle", settlements: settles.map(({ settlement }) => settlement) });
    asked.push(settles.map(({ delivery }) => delivery));
  }
  for (const [leaseMs, group] of Map.groupBy(extensions, (extension) => extension.leaseMs)) {
    packet.command({ type: "extend", leaseMs, handles: group.map(({ delivery }) => parseHandle(delivery)) });
    asked.push(group.map(({ delivery }) => delivery));
  }
  const answer = await reach(call.queue.apply(packet.take()));
  if (isRefusal(answer)) return answer;
  const outcome = lostOf(asked, readResults(answer).results);
  if (isRefusal(outcome)) return outcome;
  const settled = settles.length - (settles.length > 0 ? outcome[0]!.length : 0);
  return json({ settled, lost: outcome.flat() });
}

function settlementsOf(lists: Infer<typeof SETTLE>): { delivery: string; settlement: Settlement }[] {
  const { ack = [], release = [], fail = [], dead = [] } = lists;
  const plain = { delayMs: undefined, reason: "" };
  return [
    ...ack.map((delivery) => ({
      delivery,
      settlement: { ...handle(delivery), ...plain, outcome: "ack" as const },
    })),
    ...release.map((delivery) => ({
      delivery,
      settlement: { ...handle(delivery), ...plain, outcome: "release" as const },
    })),
    ...fail.map(({ delivery, delayMs, reason = "" }) => ({
      delivery,
      settlement: { ...handle(delivery), delayMs, reason, outcome: "fail" as const },
    })),
    ...dead.map(({ delivery, reason = "" }) => ({
      delivery,
      settlement: { ...handle(delivery), ...plain, reason, outcome: "dead" as const },
    })),
  ];
}

function handle(delivery: string): Handle {
  return parseHandle(delivery);
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
