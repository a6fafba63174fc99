// Recurring messages: PUT, GET and DELETE …/schedules/{id}, GET …/schedules.
import { permits } from "../auth/permission.ts";
import { Writer } from "../bytes/writer.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import {
  DEFAULT_PAGE,
  MAX_CRON_CHARS,
  MAX_NAME_BYTES,
  MAX_PAGE,
  MAX_SCHEDULE_BYTES,
  MAX_SCHEDULE_ID_CHARS,
} from "../limits.ts";
import { checkLater, PUBLISH_FIELDS, toMessage } from "../message/fields.ts";
import { writeMessage } from "../message/record.ts";
import { RESERVED_ID } from "../message/reserved.ts";
import { checkCron } from "../queue/cron.ts";
import type { Missed } from "../queue/schedules.ts";
import { object } from "../schema.ts";
import { json, reach } from "./answer.ts";
import type { QueueCall } from "./call.ts";
import { pathPart, queryInteger, readJson } from "./input.ts";

const SCHEDULE = object(
  {
    cron: { type: "string", minLength: 1, maxLength: MAX_CRON_CHARS },
    timeZone: { type: "string", minLength: 1, maxLength: 64 },
    missed: { type: "enum", values: ["skip", "once"] },
    to: { type: "string", minLength: 1, maxLength: "queue:".length + MAX_NAME_BYTES },
    message: PUBLISH_FIELDS,
  },
  ["cron", "message"],
);
/** Fields of a publish that mean nothing for one that recurs: each run has its own id and time. */
const NOT_HERE = ["messageId", "delayMs", "deliverAt", "expectSeq", "producer", "prepare"] as const;
const ID_PART = "/v1/queues/NAME/schedules/ID".split("/").indexOf("ID");

/** PUT …/schedules/{id}: sets what the queue sends by the clock. */
export async function putSchedule(call: QueueCall): Promise<Response | Refusal> {
  const id = scheduleId(call);
  if (isRefusal(id)) return id;
  const read = await readJson(call.request, SCHEDULE);
  if (isRefusal(read)) return read;
  const { cron, timeZone = "UTC", missed = "skip", to = "", message: fields } = read.value;
  const wrong = checkCron(cron, timeZone);
  if (wrong !== undefined) return refuse("bad-field", `cron, timeZone: ${wrong}`);
  const stray = NOT_HERE.find((name) => fields[name] !== undefined);
  if (stray !== undefined) return refuse("bad-field", `message.${stray} has no place in a schedule`);
  const forbidden =
    (to === "" ? undefined : (checkLater("to", to) ?? permits(call.principal, "publish", to))) ??
    (fields.receiptTo === undefined ? undefined : permits(call.principal, "publish", fields.receiptTo));
  if (forbidden !== undefined) return forbidden;
  const message = toMessage(fields, Date.now(), MAX_SCHEDULE_BYTES);
  if (isRefusal(message)) return message;
  const record = new Writer(256);
  writeMessage(record, { ...message, expiresAt: 0 });
  const spec = { cron, timeZone, missed: missed as Missed, to, ttlMs: fields.ttlMs ?? 0 };
  const schedule = await reach(call.queue.setSchedule(id, spec, record.take()));
  if (isRefusal(schedule)) return schedule;
  const { created, ...shown } = schedule;
  return json(shown, created ? 201 : 200);
}

/** GET …/schedules: a page of them by id. */
export async function listSchedules({ url, queue }: QueueCall): Promise<Response | Refusal> {
  const limit = queryInteger(url, "limit", { minimum: 1, maximum: MAX_PAGE, default: DEFAULT_PAGE });
  if (isRefusal(limit)) return limit;
  const after = url.searchParams.get("after") ?? "";
  const all = await reach(queue.schedules());
  if (isRefusal(all)) return all;
  const rest = all.filter(({ id }) => id > after);
  const schedules = rest.slice(0, limit);
  return json(rest.length > limit ? { schedules, next: schedules.at(-1)!.id } : { schedules });
}

/** GET …/schedules/{id}. */
export async function getSchedule(call: QueueCall): Promise<Response | Refusal> {
  const id = scheduleId(call);
  if (isRefusal(id)) return id;
  const all = await reach(call.queue.schedules());
  if (isRefusal(all)) return all;
  const schedule = all.find((one) => one.id === id);
  return schedule === undefined
    ? refuse("not-found", `the queue has no schedule ${JSON.stringify(id)}`)
    : json(schedule);
}

/** DELETE …/schedules/{id}. */
export async function deleteSchedule(call: QueueCall): Promise<Response | Refusal> {
  const id = scheduleId(call);
  if (isRefusal(id)) return id;
  return (await reach(call.queue.removeSchedule(id))) ?? new Response(null, { status: 204 });
}

function scheduleId({ url }: QueueCall): string | Refusal {
  const id = pathPart(url, ID_PART);
  if (isRefusal(id)) return id;
  // The ids of its messages begin with it.
  if (id.startsWith(RESERVED_ID)) return refuse("bad-field", "a schedule's id must not begin with NUL");
  if (id.length >= 1 && id.length <= MAX_SCHEDULE_ID_CHARS) return id;
  return refuse(
    "bad-field",
    `a schedule's id has 1 to ${MAX_SCHEDULE_ID_CHARS} characters, got ${id.length}`,
  );
}
