// Frames of the JSON framing as Server-Sent Events: what each line of the stream says.

/** A frame as the gateway sends it. */
export type Frame = Record<string, unknown>;

/** How long a browser waits before it opens the stream again, ms. */
const RECONNECT_MS = 1_000;

/** What keeps the connection in use while nothing happens: a comment, which readers skip. */
export const HEARTBEAT = ": \n\n";

/** The frames of one text: one, or an array of them. */
export function framesOf(text: string): Frame[] {
  const value = JSON.parse(text) as Frame | Frame[];
  return Array.isArray(value) ? value : [value];
}

/**
 * The first event: where the subscription begins. It carries an id only when the stream begins at the end of one topic: a reader
 * that takes up an earlier place keeps that place until the first message after it.
 *
 * @param ok the answer to the subscribe, with `recovered` as the reader shall see it
 */
export function openingEvent(ok: Frame, atEnd: boolean): string {
  const { epoch, seq, recovered } = ok;
  const id = atEnd ? idLine(epoch, seq) : "";
  return `retry: ${RECONNECT_MS}\n${event("subscribed", { epoch, seq, recovered }, id)}`;
}

/**
 * A message, or what happened to the subscription (`lag`, `expiring`, `gone`), as an event; undefined for other frames.
 *
 * @example eventOf({ op: "message", sub: 1, epoch: 3, seq: 9, to: "topic:a", body: 1 })
 * // "id: 3:9\nevent: message\ndata: {\"epoch\":3,…}\n\n"
 */
export function eventOf(frame: Frame): string | undefined {
  const { op, sub: _, ...fields } = frame;
  if (op === "message") {
    // A retained message is older than the place where the stream begins: its id would lead a reader back.
    return event("message", fields, frame.retained === true ? "" : idLine(frame.epoch, frame.seq));
  }
  if (op !== "event") return undefined;
  const { kind, ...rest } = fields;
  return event(String(kind), rest, "");
}

function idLine(epoch: unknown, seq: unknown): string {
  return `id: ${epoch}:${seq}\n`;
}

/** JSON text has no line breaks, so one line of data is enough. */
function event(name: string, data: object, id: string): string {
  return `${id}event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}
