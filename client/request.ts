// A request with nothing more to it than its frame and its answer: subscribe, unsubscribe, extend.
import type { DunlinError } from "./errors.ts";
import type { Entry } from "./outbox.ts";
import type { Reply } from "./wire.ts";

/** The callbacks of a request. */
export interface RequestEnd {
  /** Whether it is sent again after a lost socket; else it is abandoned then. */
  kept: boolean;
  reply(frame: Reply): void;
  abandon?(error: DunlinError): void;
}

/** A request made of plain fields. */
export class PlainRequest implements Entry {
  readonly counted = 0;
  readonly id: number;
  readonly text: string;
  sentAtMs?: number;
  readonly kept: boolean;
  readonly #end: RequestEnd;

  constructor(id: number, fields: { op: string } & Record<string, unknown>, end: RequestEnd) {
    this.id = id;
    this.text = JSON.stringify({ ...fields, id });
    this.kept = end.kept;
    this.#end = end;
  }

  reply(frame: Reply): void {
    this.#end.reply(frame);
  }

  abandon(error: DunlinError): void {
    this.#end.abandon?.(error);
  }
}
