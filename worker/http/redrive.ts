// Redrive: dead letters go back to where they died, or elsewhere. POST, GET and DELETE …/redrive.
import { checkName } from "../address.ts";
import { permits } from "../auth/permission.ts";
import { queueObject } from "../env.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { REDRIVE_FIELDS, type RedriveOptions, type RedriveTask } from "../queue/redrive.ts";
import { checkFilterField } from "../selector/selector.ts";
import { json, reach } from "./answer.ts";
import type { QueueCall } from "./call.ts";
import { readJson } from "./input.ts";

/**
 * POST …/redrive `{to?, filter?, max?, perSecond?}`. The name may be that of the queue of dead letters, or of the queue that they died
 * in, whose dead-letter queue is then meant and only its own letters.
 */
export async function redriveQueue(call: QueueCall): Promise<Response | Refusal> {
  const read = await readJson(call.request, REDRIVE_FIELDS);
  if (isRefusal(read)) return read;
  const { to = "", max = null, perSecond = null } = read.value;
  const filter = checkFilterField(read.value.filter);
  if (isRefusal(filter)) return filter;
  const wrong = to === "" ? undefined : checkTarget(call, to);
  if (wrong !== undefined) return wrong;
  const options = { to, origin: "", filter, max, perSecond };
  const task = await reach(call.queue.redrive(options));
  if (isRefusal(task) || task.running || task.moved > 0) return show(task);
  return (await redriveFor(call, options)) ?? show(task);
}

/** GET …/redrive: the task under way, or else the last one. */
export async function redriveStatus({ queue }: QueueCall): Promise<Response | Refusal> {
  return show(await reach(queue.redriveTask()));
}

/** DELETE …/redrive: ends the task under way; what it moved stays moved. */
export async function endRedrive({ queue }: QueueCall): Promise<Response | Refusal> {
  return show(await reach(queue.endRedrive()));
}

/** The queue's own dead letters, wherever it sends them; undefined when it sends them nowhere, or none came there. */
async function redriveFor(call: QueueCall, options: RedriveOptions): Promise<Response | Refusal | undefined> {
  const { env, namespace, principal, name } = call;
  const described = await reach(call.queue.describe());
  if (isRefusal(described)) return described;
  const { deadLetterTo } = described.settings;
  if (deadLetterTo === null || permits(principal, "manage", `queue:${deadLetterTo}`)) return undefined;
  const task = await reach(queueObject(env, namespace, deadLetterTo).redrive({ ...options, origin: name }));
  return isRefusal(task) && task.kind === "not-found" ? undefined : show(task);
}

function checkTarget({ principal, name }: QueueCall, to: string): Refusal | undefined {
  if (to === name) return refuse("bad-field", `to must be another queue, got ${JSON.stringify(to)}`);
  const wrong = checkName(to);
  if (wrong !== undefined) return refuse("bad-field", `to: ${wrong.message}`);
  return permits(principal, "publish", `queue:${to}`);
}

function show(task: RedriveTask | undefined | Refusal): Response | Refusal {
  if (isRefusal(task)) return task;
  if (task === undefined) return refuse("not-found", "the queue has had no redrive");
  const { to, origin, filter, ...figures } = task;
  const shown = { ...figures, to: to || null, origin: origin || null, filter: filter || null };
  return json(shown, task.running ? 202 : 200);
}
