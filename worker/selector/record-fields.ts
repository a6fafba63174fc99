// A stored message as selectors read it: straight from its bytes, and its headers only once one is asked for.
import { type BodyKind, BYTES_BODY, JSON_BODY, type RecordView } from "../message/record.ts";
import type { SelectorFields } from "./fields.ts";

/** The fields of the record that a view points at: of no use once the view has gone on. */
export class RecordFields implements SelectorFields {
  readonly attempt: number | undefined;
  readonly #record: RecordView;
  #headers: Record<string, string> | undefined;

  /** @param attempt deliveries from a queue, this one included; nothing where no queue delivers */
  constructor(record: RecordView, attempt?: number) {
    this.#record = record;
    this.attempt = attempt;
  }

  get messageId(): string {
    return this.#record.messageId;
  }

  get time(): number {
    return this.#record.time;
  }

  get correlationId(): string | undefined {
    return this.#record.correlationId || undefined;
  }

  get priority(): number {
    return this.#record.priority;
  }

  get expiresAt(): number {
    return this.#record.expiresAt;
  }

  get replyTo(): string | undefined {
    return this.#record.replyTo || undefined;
  }

  get group(): string | undefined {
    return this.#record.group || undefined;
  }

  get contentType(): string {
    return this.#record.contentType || usualType(this.#record.bodyKind);
  }

  get topic(): string | undefined {
    return this.#record.topic || undefined;
  }

  header(name: string): string | undefined {
    if (this.#headers === undefined) {
      const text = this.#record.headers;
      this.#headers = text === "" ? {} : (JSON.parse(text) as Record<string, string>);
    }
    return Object.hasOwn(this.#headers, name) ? this.#headers[name] : undefined;
  }
}

/** What a body is when its publisher did not say. */
function usualType(bodyKind: BodyKind): string {
  if (bodyKind === JSON_BODY) return "application/json";
  return bodyKind === BYTES_BODY ? "application/octet-stream" : "text/plain";
}
