// What a Worker offers to take a queue's messages: types alone, for whoever writes one.

/** A message as a handler gets it. */
export interface HandledMessage {
  queue: string;
  /** Together with `epoch` the same for every attempt. */
  seq: number;
  epoch: number;
  messageId: string;
  /** When the broker accepted it, ms since the epoch. */
  time: number;
  /** 1 for the first. */
  attempt: number;
  /** The JSON value, text, or bytes. */
  body: unknown;
  contentType: string;
  headers: Record<string, string>;
  group: string;
  topic: string;
  replyTo: string;
  correlationId: string;
}

/** What became of one message. */
export interface PushOutcome {
  outcome: "ack" | "release" | "fail" | "dead";
  reason?: string;
  /** After `fail`: wait before the next attempt. */
  delayMs?: number;
}

/** What a handler says of one message; nothing: done. */
export type HandlerAnswer = PushOutcome | PushOutcome["outcome"] | null | undefined;

/**
 * What a Worker offers to take messages.
 *
 * @example
 * export class Orders extends WorkerEntrypoint implements MessageHandler {
 *   async handle(messages: HandledMessage[]) { for (const { body } of messages) await ship(body); }
 * }
 */
export interface MessageHandler {
  /**
   * Takes messages. Nothing returned: all are done. An array: one answer for each, in their order. Whatever else is returned, a throw, and
   * no answer in time fail all of them.
   */
  handle(messages: HandledMessage[]): Promise<HandlerAnswer[]> | Promise<void>;
}
