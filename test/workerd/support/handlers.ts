// A Worker of its own beside the broker, bound to it: a handler that does what each message says, and tells what it was called with.
import { WorkerEntrypoint } from "cloudflare:workers";
import type { HandledMessage, HandlerAnswer } from "../../../worker/push/handler.ts";

export { default as Orders } from "../../../examples/worker-handler.ts";

/** What a message asks of the handler. */
export interface Script {
  /** Tells the tests apart. */
  test: string;
  answer?: HandlerAnswer;
  /** The call fails. */
  throws?: boolean;
  /** The call is answered once `release` is called. */
  holds?: boolean;
}

/** The calls so far, and the tests whose held ones may go. */
const calls: HandledMessage[][] = [];
const released = new Set<string>();
/** The runtime ends a call that waits for nothing but another call, so a held one looks from time to time. */
const LOOK_MS = 10;

/** Does as the messages say. */
export class Scripted extends WorkerEntrypoint {
  async handle(messages: HandledMessage[]): Promise<HandlerAnswer[] | undefined> {
    calls.push(messages);
    const scripts = messages.map(({ body }) => body as Script);
    const holding = scripts.find(({ holds }, index) => holds === true && messages[index]!.attempt === 1);
    while (holding !== undefined && !released.has(holding.test)) await scheduler.wait(LOOK_MS);
    if (scripts.some(({ throws }) => throws)) throw new Error("out of stock");
    return scripts.every(({ answer }) => answer === undefined)
      ? undefined
      : scripts.map(({ answer }) => answer);
  }

  /** The calls with messages of a test. */
  calls(test: string): HandledMessage[][] {
    return calls.filter(([first]) => (first!.body as Script).test === test);
  }

  release(test: string): void {
    released.add(test);
  }
}

export default { fetch: () => new Response("handlers") };
