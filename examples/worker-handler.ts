// A Worker that takes the messages of a queue: the queue calls `handle` with some of them, as often as there are any.
// Bind it to the broker as HANDLER_ORDERS (docs/queue-tools.md), then: PUT /v1/queues/orders/push {"service": "HANDLER_ORDERS"}.
import { WorkerEntrypoint } from "cloudflare:workers";
import type { HandledMessage, HandlerAnswer } from "../worker/push/handler.ts";

interface Order {
  id: number;
  item: string;
}

export default class Orders extends WorkerEntrypoint {
  async handle(messages: HandledMessage[]): Promise<HandlerAnswer[]> {
    return Promise.all(
      messages.map(async ({ body, attempt }): Promise<HandlerAnswer> => {
        const { id, item } = body as Order;
        // No attempt would mend it: a dead letter, with the reason.
        if (!Number.isInteger(id)) return { outcome: "dead", reason: "an order has a number" };
        try {
          await ship(id, item);
          return "ack";
        } catch (error) {
          return { outcome: "fail", reason: String(error), delayMs: 100 * 2 ** attempt };
        }
      }),
    );
  }
}

/** Stands for what your Worker does. Orders may come twice: what must happen once looks for the number first. */
async function ship(id: number, item: string): Promise<void> {
  console.log(`order ${id}: ${item} is on its way`);
}
