// Redrive: dead letters go back to where they died, or elsewhere. POST, GET and DELETE …/redrive.
import { checkName } from "../address.ts";
import { permits } from "../auth/permission.ts";
import { queueObject } from "../env.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { REDRIVE_FIELDS, type RedriveTask } from "../queue/redrive.ts";
import type { QueueRpc } from "../queue/rpc.ts";
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
  if (isRefusal(task) || hasMoved(task)) return show(task);
  return show(
    (await inDeadLetters(call, (queue) => queue.redrive({ ...options, origin: call.name }))) ?? task,
  );
}

/** GET …/redrive: the task under way, or else the last one. */
export async function redriveStatus(call: QueueCall): Promise<Response | Refusal> {
  const task = await reach(call.queue.redriveTask());
  if (isRefusal(task) || hasMoved(task)) return show(task);
  return show((await ownTask(call)) ?? task);
}

/** DELETE …/redrive: ends the task under way; what it moved stays moved. */
export async function endRedrive(call: QueueCall): Promise<Response | Refusal> {
  const task = await reach(call.queue.endRedrive());
  if (isRefusal(task) || hasMoved(task)) return show(task);
  const own = await ownTask(call);
  if (own === undefined || isRefusal(own)) return show(own ?? task);
  return show((await inDeadLetters(call, (queue) => queue.endRedrive())) ?? own);
}

/** Whether a task is about the letters in the queue of the call itself: one that found none there is not. */
function hasMoved(task: RedriveTask | undefined): boolean {
  return task !== undefined && (task.running || task.moved > 0);
}

/** The task that moves the queue's own dead letters, in the queue that holds them. */
async function ownTask(call: QueueCall): Promise<RedriveTask | undefined | Refusal> {
  const task = await inDeadLetters(call, (queue) => queue.redriveTask());
  return task === undefined || isRefusal(task) || task.origin === call.name ? task : undefined;
}

/** Calls the queue that holds a queue's own dead letters; undefined when it sends them nowhere, or none came there. */
async function inDeadLetters<T>(
  { env, namespace, principal, queue }: QueueCall,
  ask: (queue: QueueRpc) => Promise<T | Refusal>,
): Promise<T | Refusal | undefined> {
  const described = await reach(queue.describe());
  if (isRefusal(described)) return described;
  const { deadLetterTo } = described.settings;
  if (deadLetterTo === null) return undefined;
  const forbidden = permits(principal, "manage", `queue:${deadLetterTo}`);
  if (forbidden !== undefined) return forbidden;
  const answer = await reach(ask(queueObject(env, namespace, deadLetterTo)));
  return isRefusal(answer) && answer.kind === "not-found" ? undefined : answer;
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
