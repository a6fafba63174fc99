// A raw reader of `/v1/events`: every event as it came, and nothing done on its own. It never reconnects.

/** One event of a stream. */
export interface StreamEvent {
  id: string | undefined;
  event: string;
  data: Record<string, unknown>;
}

const TIMEOUT_MS = 20_000;

/**
 * A stream of Server-Sent Events.
 *
 * @example
 * const events = await EventStream.open(new URL("/v1/events?topic=news", broker.url));
 * const { data } = await events.next("message");
 * events.close();
 */
export class EventStream {
  readonly response: Response;
  /** Events that nobody has taken yet, oldest first. */
  readonly events: StreamEvent[] = [];
  /** Settles when the stream is over, by whichever side. */
  readonly ended: Promise<void>;
  readonly #abort: AbortController;
  #wake: () => void = () => undefined;
  #over = false;

  private constructor(response: Response, abort: AbortController) {
    this.response = response;
    this.#abort = abort;
    this.ended = this.#read().finally(() => {
      this.#over = true;
      this.#wake();
    });
  }

  /** Opens a stream; throws unless it is answered 200. */
  static async open(url: URL, headers: Record<string, string> = {}): Promise<EventStream> {
    const abort = new AbortController();
    const response = await fetch(url, { headers, signal: abort.signal });
    if (response.status !== 200)
      throw new Error(`${url} was answered ${response.status}: ${await response.text()}`);
    return new EventStream(response, abort);
  }

  /** Takes the next event, which must be of the given kind. */
  async next(kind?: string): Promise<StreamEvent> {
    const deadline = Date.now() + TIMEOUT_MS;
    while (this.events.length === 0) {
      const left = deadline - Date.now();
      if (this.#over || left <= 0)
        throw new Error(`no event came ${this.#over ? "before the end" : "in time"}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    const event = this.events.shift()!;
    if (kind !== undefined && event.event !== kind) {
      throw new Error(`expected an event ${kind}, got ${JSON.stringify(event)}`);
    }
    return event;
  }

  /** Takes `count` messages. */
  async messages(count: number): Promise<StreamEvent[]> {
    const taken: StreamEvent[] = [];
    while (taken.length < count) taken.push(await this.next("message"));
    return taken;
  }

  /** Goes away. */
  close(): void {
    this.#abort.abort();
  }

  async #read(): Promise<void> {
    let text = "";
    const decoder = new TextDecoder();
    try {
      for await (const chunk of this.response.body!) {
        text += decoder.decode(chunk as Uint8Array, { stream: true });
        for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
          this.#take(text.slice(0, end));
          text = text.slice(end + 2);
        }
      }
    } catch (error) {
      if ((error as Error).name !== "AbortError" && !(error instanceof TypeError)) throw error;
    }
  }

  #take(block: string): void {
    const fields = new Map<string, string>();
    for (const line of block.split("\n")) {
      const colon = line.indexOf(":");
      if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1).trimStart());
    }
    const data = fields.get("data");
    if (data === undefined) return;
    this.events.push({
      id: fields.get("id"),
      event: fields.get("event") ?? "message",
      data: JSON.parse(data) as Record<string, unknown>,
    });
    this.#wake();
  }
}
