// Which Workers run beside a local broker to take its queues' messages: what DUNLIN_HANDLERS says.

/** As the broker asks of a binding that may be called (worker/push/spec.ts). */
const NAME = /^HANDLER_[A-Z0-9_]+$/;

/**
 * Reads the variable.
 *
 * @returns the file of each handler by its name
 * @throws Error naming what cannot be
 * @example readHandlers("HANDLER_ORDERS=./orders.ts,HANDLER_MAIL=./mail.ts")
 */
export function readHandlers(text: string): Map<string, string> {
  const handlers = new Map<string, string>();
  for (const entry of text.split(",").filter((part) => part.trim() !== "")) {
    const [, name = "", file = ""] = /^\s*([^=]*?)\s*=\s*(.*?)\s*$/.exec(entry) ?? [];
    if (!NAME.test(name) || file === "" || handlers.has(name)) {
      throw new Error(
        `DUNLIN_HANDLERS is HANDLER_NAME=FILE, separated by commas, each name once; got ${JSON.stringify(entry)}`,
      );
    }
    handlers.set(name, file);
  }
  return handlers;
}
