// All HTTP calls: path, method, the permission they need, and who answers them.
import { type Handler, onNamespace, onQueue } from "./call.ts";
import { receive, settle } from "./consume.ts";
import { configureNamespace, describeNamespace } from "./namespace.ts";
import { publish } from "./publish.ts";
import {
  declareQueue,
  deleteQueue,
  describeQueue,
  listQueues,
  pauseQueue,
  peekQueue,
  purgeQueue,
  resumeQueue,
} from "./queues.ts";

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
    POST: onQueue(["publish"], publish),
  },
  "/v1/queues/:name/receive": { POST: onQueue(["consume"], receive) },
  "/v1/queues/:name/settle": { POST: onQueue(["consume"], settle) },
  "/v1/queues/:name/purge": { POST: onQueue(["manage"], purgeQueue) },
  "/v1/queues/:name/pause": { PUT: onQueue(["manage"], pauseQueue) },
  "/v1/queues/:name/resume": { PUT: onQueue(["manage"], resumeQueue) },
};
