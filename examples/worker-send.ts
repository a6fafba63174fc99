// A Worker that takes orders over HTTP and answers once the order is safely in the queue.
import { connect } from "../client/index.ts";

interface Env {
  DUNLIN_URL: string;
  DUNLIN_TOKEN?: string;
}

export default {
  async fetch(request: Request, env: Env, context: { waitUntil(work: Promise<unknown>): void }) {
    const dunlin = connect(env.DUNLIN_URL, env.DUNLIN_TOKEN ? { token: env.DUNLIN_TOKEN } : {});
    try {
      // The caller may repeat its request: under one key the order is stored once.
      const messageId = request.headers.get("Idempotency-Key") ?? crypto.randomUUID();
      return Response.json(await dunlin.queue("orders").send(await request.json(), { messageId }), {
        status: 201,
      });
    } finally {
      context.waitUntil(dunlin.close());
    }
  },
};
