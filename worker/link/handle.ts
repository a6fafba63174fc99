// The handle of a delivery: which message, and which lease of it. A later lease of the same message has another handle.

/** Names one lease of one message. */
export interface Handle {
  /** Where the message lies in the queue's log. */
  position: number;
  /** The lease's number within the queue. */
  lease: number;
}

/** One text for each handle: whoever looks for one that stands twice in a request compares the texts. */
const FORM = /^(0|[1-9a-z][0-9a-z]{0,10})\.(0|[1-9a-z][0-9a-z]{0,10})$/;

/** The handle as clients see it: opaque, short, safe in JSON without escapes. */
export function formatHandle(position: number, lease: number): string {
  return `${position.toString(36)}.${lease.toString(36)}`;
}

/** Reads a handle; one that no queue can have given out becomes a handle that is never valid. */
export function parseHandle(text: string): Handle {
  if (!FORM.test(text)) return { position: -1, lease: -1 };
  const dot = text.indexOf(".");
  return {
    position: Number.parseInt(text.slice(0, dot), 36),
    lease: Number.parseInt(text.slice(dot + 1), 36),
  };
}
