// All HTTP calls: path, method, the permission they need, and who answers them.
import { bindQueue, listBindings, unbind } from "./bindings.ts";
import { type Handler, onBinding, onNamespace, onQueue, onTopic } from "./call.ts";
import { commit, decidePrepared, listPrepared } from "./commit.ts";
import { receive, settle } from "./consume.ts";
import { openEvents } from "./events.ts";
import { configureNamespace, describeNamespace } from "./namespace.ts";
import { publishToQueue, publishToTopic } from "./publish.ts";
import { deletePush, getPush, putPush } from "./push.ts";
import {
  declareQueue,
  deleteQueue,
  describeQueue,
  listConsumers,
  listQueues,
  pauseQueue,
  peekQueue,
  purgeQueue,
  resumeQueue,
} from "./queues.ts";
import { endRedrive, redriveQueue, redriveStatus } from "./redrive.ts";
import { requestOfQueue, requestOfTopic } from "./request.ts";
import { deleteSchedule, getSchedule, listSchedules, putSchedule } from "./schedules.ts";
import {
  declareTopic,
  deleteTopic,
  describeTopic,
  listTopics,
  retainedMessage,
  topicHistory,
} from "./topics.ts";

/** The methods in use. */
export type Method = "GET" | "POST" | "PUT" | "DELETE";

/** Handlers by path (as Hono writes it) and method. */
export const ROUTES: Record<string, Partial<Record<Method, Handler>>> = {
  "/v1/namespace": { GET: onNamespace(describeNamespace), PUT: onNamespace(configureNamespace) },
  "/v1/queues": { GET: onNamespace(listQueues) },
  "/v1/queues/:name": {
    GET: onQueue(["manage", "consume"], describeQueue),
    PUT: onQueue(["manage"], declareQueue),
    DELETE: onQueue(["manage"], deleteQueue),
  },
  "/v1/queues/:name/messages": {
    GET: onQueue(["manage", "consume"], peekQueue),
    POST: onQueue(["publish"], publishToQueue),
  },
  "/v1/queues/:name/consumers": { GET: onQueue(["manage", "consume"], listConsumers) },
  "/v1/queues/:name/request": { POST: onQueue(["publish"], requestOfQueue) },
  "/v1/queues/:name/receive": { POST: onQueue(["consume"], receive) },
  "/v1/queues/:name/settle": { POST: onQueue(["consume"], settle) },
  "/v1/queues/:name/prepared": { GET: onQueue(["manage", "publish"], listPrepared) },
  "/v1/queues/:name/prepared/:messageId": { POST: onQueue(["publish"], decidePrepared) },
  "/v1/commit": { POST: commit },
  "/v1/queues/:name/purge": { POST: onQueue(["manage"], purgeQueue) },
  "/v1/queues/:name/redrive": {
    GET: onQueue(["manage"], redriveStatus),
    POST: onQueue(["manage"], redriveQueue),
    DELETE: onQueue(["manage"], endRedrive),
  },
  "/v1/queues/:name/schedules": { GET: onQueue(["manage"], listSchedules) },
  "/v1/queues/:name/schedules/:id": {
    GET: onQueue(["manage"], getSchedule),
    PUT: onQueue(["manage"], putSchedule),
    DELETE: onQueue(["manage"], deleteSchedule),
  },
  "/v1/queues/:name/push": {
    GET: onQueue(["manage"], getPush),
    PUT: onQueue(["manage"], putPush),
    DELETE: onQueue(["manage"], deletePush),
  },
  "/v1/queues/:name/pause": { PUT: onQueue(["manage"], pauseQueue) },
  "/v1/queues/:name/resume": { PUT: onQueue(["manage"], resumeQueue) },
  "/v1/queues/:name/bindings": { GET: onQueue(["manage", "consume"], listBindings) },
  "/v1/queues/:name/bindings/:filter": { PUT: onBinding(bindQueue), DELETE: onBinding(unbind) },
  "/v1/topics": { GET: onNamespace(listTopics) },
  "/v1/topics/:name": {
    GET: onTopic(["manage", "subscribe"], describeTopic),
    PUT: onTopic(["manage"], declareTopic),
    DELETE: onTopic(["manage"], deleteTopic),
  },
  "/v1/topics/:name/messages": {
    GET: onTopic(["manage", "subscribe"], topicHistory),
    POST: onTopic(["publish"], publishToTopic),
  },
  "/v1/topics/:name/request": { POST: onTopic(["publish"], requestOfTopic) },
  "/v1/topics/:name/retained": { GET: onTopic(["manage", "subscribe"], retainedMessage) },
  "/v1/events": { GET: openEvents },
};
