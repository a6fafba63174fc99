// One subscription of topics: buffers what the broker sends within the credit, remembers its place in each topic, so that nothing
// comes twice and a new socket goes on where the old one ended, and tells of every hole that the broker or the network leaves.
import { DunlinError, errorOf } from "./errors.ts";
import { TopicMessage } from "./message.ts";
import type { Entry } from "./outbox.ts";
import { PlainRequest } from "./request.ts";
import { type Link, Subscription } from "./subscription.ts";
import type { EventFrame, Place, Reply, ResumePoint, TopicFrame } from "./wire.ts";

/**
 * Where to begin. `new`: the retained message of each topic first, then what is published from now on. The others begin in what
 * the topics' retention has kept, and go on with what is published: at its `first` message, at its `last` (or the retained one), after
 * the message `seq`, at a time in milliseconds since 1970, or with so many of the last.
 *
 * @example
 * const yesterday: From = { time: Date.now() - 86_400_000 };
 */
export type From =
  | "new"
  | "first"
  | "last"
  | { seq: number; epoch?: number }
  | { time: number }
  | { last: number };

/**
 * Messages may be missing before the next ones.
 *
 * @example
 * const onGap = ({ reason, skipped }: Gap) => console.warn(`missed ${skipped ?? "some"} messages: ${reason}`);
 */
export interface Gap {
  /**
   * `lag`: the broker skipped messages, because the loop took them too slowly and the credit was used up, or while the connection was
   * lost. `lost`: the topic has not kept all that was published since the connection was lost, or since the place to begin from.
   */
  reason: "lag" | "lost";
  /** How many, where that is known. */
  skipped: number | undefined;
}

/**
 * How to subscribe. All are optional.
 *
 * @example
 * dunlin.topic("prices/#").subscribe({ credit: 100, onGap: () => reloadPrices() });
 */
export interface SubscribeOptions {
  /** Where to begin: `new` by default. */
  from?: From;
  /** At most this many messages wait here for the loop: 1 to 10,000, the default. Beyond it the broker skips, and tells. */
  credit?: number;
  /** Told at once when messages may be missing. Without it, an `error` event of the kind `gap` tells. */
  onGap?: (gap: Gap) => void;
  /** Only messages that it matches, by their headers and fields. */
  filter?: string | object;
  /** Ends the iteration. */
  signal?: AbortSignal;
}

const DEFAULT_CREDIT = 10_000;
/** Topics of one filter whose place is remembered; the one longest silent is forgotten first. */
const MAX_PLACES = 10_000;

/** The iterator behind `topic.subscribe()`. */
export class TopicSubscription<Body> extends Subscription<TopicMessage<Body>> {
  readonly #from: From | undefined;
  readonly #credit: number;
  readonly #onGap: ((gap: Gap) => void) | undefined;
  readonly #isFilter: boolean;
  readonly #filter: string | object | undefined;
  #buffer: TopicFrame[] = [];
  /** Credit used up and not granted again. */
  #taken = 0;
  /** Whether a new socket goes on from a place, and not from `from` once more. */
  #begun = false;
  /** Until the broker's answer, what comes is of a subscription that has ended. */
  #isStale = false;
  /** Where the topic stood when a subscription from `new` began. */
  #start: Place | undefined;
  /** The last message of each topic, by its address. */
  readonly #places = new Map<string, Place & { retained: boolean | undefined }>();
  /** Topics from which frames may have been lost with a socket: their next message must be the next one. */
  #unsure = new Set<string>();

  constructor(link: Link, to: string, options: SubscribeOptions) {
    super(link, to, options.signal);
    this.#from = options.from;
    this.#credit = options.credit ?? DEFAULT_CREDIT;
    this.#onGap = options.onGap;
    this.#filter = options.filter;
    this.#isFilter = /[+#]/.test(to);
  }

  stop(): void {
    this.#buffer = [];
    this.end();
  }

  override return(): Promise<IteratorResult<TopicMessage<Body>, undefined>> {
    this.#buffer = [];
    return super.return();
  }

  override place(): ResumePoint | undefined {
    // Of a filter there is no one place: its session remembers it, or there is a gap.
    if (this.#isFilter || !this.#begun) return undefined;
    const { epoch, seq } = this.#places.get(this.to) ?? this.#start!;
    return { sub: this.sub, to: this.to, epoch, seq, credit: this.#room(), filter: this.#filter };
  }

  resubscribe(resumed: boolean): Entry[] {
    if (!this.#begun) {
      this.#isStale = resumed;
      return resumed ? [this.#plain({ op: "unsubscribe" }), this.request()] : [this.request()];
    }
    // Hello said where to go on.
    if (!this.#isFilter) return [];
    this.#unsure.clear();
    if (!resumed) this.#tell("lost");
    else for (const [topic, { retained }] of this.#places) if (!retained) this.#unsure.add(topic);
    return [this.request()];
  }

  deliver(frame: TopicFrame): void {
    if (this.#isStale) return;
    const { to, epoch, seq, retained } = frame;
    const place = this.#places.get(to);
    const isSameLife = place?.epoch === epoch;
    if (place && (retained || isSameLife) && !isAfter(frame, place)) {
      this.#took();
      return;
    }
    if (this.#unsure.delete(to) && isSameLife && seq > place.seq + 1) this.#tell("lost", seq - place.seq - 1);
    this.#begun = true;
    // To go on after a retained message must not bring what came between it and the subscription.
    const here = retained && this.#start && !isAfter(frame, this.#start) ? this.#start : frame;
    this.#places.delete(to);
    this.#places.set(to, { epoch: here.epoch, seq: here.seq, retained });
    if (this.#places.size > MAX_PLACES) this.#places.delete(this.#places.keys().next().value!);
    this.#buffer.push(frame);
    this.wake();
  }

  override told(event: EventFrame): void {
    if (event.kind === "lag") {
      if (this.#isStale) return;
      this.#unsure.clear();
      this.#tell("lag", event.skipped);
    } else if (event.kind === "resumed") {
      if (!event.recovered) this.#tell("lost");
    } else super.told(event);
  }

  flush(): void {
    if (this.state !== "live" || this.#taken === 0 || !this.link.isOpen) return;
    // Not sent again over another socket: there the subscription begins with what the buffer has room for.
    this.link.post(this.#plain({ op: "credit", add: this.#taken }));
    this.#taken = 0;
  }

  protected request(): Entry {
    const from = this.#begun ? undefined : this.#from;
    const fields = { op: "subscribe", to: this.to, from, credit: this.#room(), filter: this.#filter };
    return this.#plain(fields, (frame) => {
      this.#isStale = false;
      if (frame.op === "error") this.fail(errorOf(frame));
      else if (this.#begun || frame.op !== "ok") return;
      else if (typeof from === "object") {
        if (!frame.recovered) this.#tell("lost");
      } else if (from === undefined || from === "new") {
        this.#begun = true;
        this.#start = { epoch: frame.epoch!, seq: frame.seq! };
      }
    });
  }

  protected take(): TopicMessage<Body> | undefined {
    const frame = this.#buffer.shift();
    if (!frame) return undefined;
    this.#took();
    return new TopicMessage<Body>(frame, this.link);
  }

  #plain(fields: { op: string } & Record<string, unknown>, reply: (frame: Reply) => void = () => {}): Entry {
    return new PlainRequest(this.link.nextId(), { ...fields, sub: this.sub }, { kept: false, reply });
  }

  /** The credit of a subscription that begins now. */
  #room(): number {
    this.#taken = 0;
    return Math.max(0, this.#credit - this.#buffer.length);
  }

  /** One message less is here: grants half of the credit at a time, so that a grant costs next to nothing. */
  #took(): void {
    this.#taken += 1;
    if (this.#taken * 2 >= this.#credit) this.link.touch(this);
  }

  #tell(reason: Gap["reason"], skipped?: number): void {
    const onGap = this.#onGap;
    // A mistake in the application's function shows as an uncaught error, and does not stop the client in the middle of its work.
    if (onGap) queueMicrotask(() => onGap({ reason, skipped }));
    else
      this.link.report(new DunlinError(`Messages of ${this.to} may be missing: ${reason}`, { kind: "gap" }));
  }
}

function isAfter(a: Place, b: Place): boolean {
  return a.epoch > b.epoch || (a.epoch === b.epoch && a.seq > b.seq);
}
