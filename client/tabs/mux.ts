// One socket to the broker for the sessions of many tabs: passes each tab's frames on as they are, and hands what the broker sends to
// the tab whose number it carries. Pure: sockets, locks and channels are leader.ts and member.ts.
import type { Delivery, ErrorFrame, OkFrame, ResumePoint, WelcomeFrame } from "../wire.ts";
import { CLOSE_AGAIN, CLOSE_BAD_FRAME, type Join, type Word } from "./messages.ts";
import { tabOf } from "./numbers.ts";

/** Requests without an answer on the one socket; the broker takes 20,000, and further ones wait here. */
export const MAX_UNANSWERED = 16_000;
/** Length of the frames that wait here for answers to others; a tab that sends more than that is closed, and comes again. */
export const MAX_HELD_CHARS = 67_108_864;
/** Length of the frames kept for a tab that changes over from the leader before; one that gets more loses them, and is told. */
export const MAX_KEPT_CHARS = 4_194_304;
/** Tabs on one socket; a further one is closed, and tries again. */
export const MAX_TABS = 256;
/** Replies to the leader's own hello and auth. */
const FIRST_OWN_ID = 3;
const HELLO_ID = 1;

/** What the mux says to whom. */
export interface MuxLinks {
  toBroker(text: string): void;
  toTab(tab: number, word: Word): void;
}

interface Frame {
  op?: unknown;
  id?: number;
  sub?: number;
  delivery?: Delivery;
  [field: string]: unknown;
}

/** A tab that this socket serves. */
interface Served {
  /** Its open socket; undefined while it changes over. */
  life: string | undefined;
  /** Whether it has been welcomed; before that, frames for it are kept. */
  greeted: boolean;
  /** Whether nothing that came for it over this socket was turned away. */
  whole: boolean;
  readonly subs: Set<number>;
  /** Subscriptions that begin again at a place: until the broker confirms, what comes is of the one before. */
  readonly resuming: Set<number>;
  kept: Frame[];
  keptChars: number;
}

type Answer = (frame: OkFrame | ErrorFrame) => void;

/** The tabs of one socket. It begins and ends with the socket. */
export class Mux {
  readonly #own: number;
  readonly #links: MuxLinks;
  readonly #served = new Map<number, Served>();
  readonly #joins = new Map<number, Join>();
  readonly #gone: Set<number>;
  readonly #answers = new Map<number, Answer>();
  /** Subscriptions of nobody whose end the broker has not confirmed. */
  readonly #ending = new Set<number>();
  #welcome: WelcomeFrame | undefined;
  #lastId = FIRST_OWN_ID;
  #unanswered = 0;
  #held: { tab: number; text: string; requests: number }[] = [];
  #heldChars = 0;

  /**
   * @param own the leader's join: its hello and its token are the socket's
   * @param live the other tabs there are: what comes for them is kept until they join
   * @param gone tabs whose subscriptions were ended: should they come again, nothing goes on. Lasts longer than a socket
   */
  constructor(own: Join, live: Iterable<number>, gone: Set<number>, links: MuxLinks) {
    this.#own = own.tab;
    this.#gone = gone;
    this.#links = links;
    for (const tab of live) this.#serve(tab);
    this.join(own);
  }

  /** The socket is open, and waits for hello. */
  opened(): void {
    this.#open(this.#joins.get(this.#own)!);
  }

  /** A tab wants a connection. It gets one as soon as there is one. */
  join(join: Join): void {
    const { tab, life } = join;
    if (this.#served.size >= MAX_TABS && !this.#served.has(tab)) {
      this.#links.toTab(tab, { kind: "close", life, code: CLOSE_AGAIN, reason: "too many tabs" });
      return;
    }
    const before = this.#served.get(tab)?.life;
    if (before === life) {
      this.#links.toTab(tab, { kind: "open", life });
      return;
    }
    // One that joins with another socket has given the first one up.
    if (before !== undefined) this.drop(tab);
    this.#joins.set(tab, join);
    if (this.#welcome) this.#open(join);
    else if (tab !== this.#own) this.#links.toTab(tab, { kind: "wait", life });
  }

  /** A tab's socket was given up. */
  leave(tab: number, life: string): void {
    if ((this.#served.get(tab)?.life ?? this.#joins.get(tab)?.life) === life) this.drop(tab);
  }

  /** A tab is gone, or its socket: what it held goes to others at once. */
  drop(tab: number): void {
    this.#joins.delete(tab);
    this.#gone.add(tab);
    const served = this.#served.get(tab);
    this.#served.delete(tab);
    this.#held = this.#held.filter((frame) => {
      if (frame.tab === tab) this.#heldChars -= frame.text.length;
      return frame.tab !== tab;
    });
    for (const sub of served?.subs ?? []) this.#unsubscribe(sub);
    this.#links.toTab(tab, { kind: "forget" });
  }

  /** A frame of a tab. */
  fromTab(tab: number, life: string, text: string): void {
    const served = this.#served.get(tab);
    if (served?.life !== life) return;
    if (text === "ping") {
      this.#links.toBroker(text);
      return;
    }
    const frame = JSON.parse(text) as Frame | Frame[];
    const requests = Array.isArray(frame) ? frame : [frame];
    const { op, id } = requests[0]!;
    if (op === "hello") this.#hello(tab, served, text, requests[0]!);
    else if (op === "auth" && id !== undefined) this.#auth(tab, text, id);
    else if (op === "bye") this.#bye(tab);
    else if (requests.every((request) => isOf(tab, request))) this.#send(tab, served, text, requests);
    else this.#close(tab, CLOSE_BAD_FRAME, "this page has used up its numbers: load it again");
  }

  /** A frame of the broker. */
  fromBroker(text: string): void {
    if (text === "pong") {
      for (const [tab, { life }] of this.#served)
        if (life) this.#links.toTab(tab, { kind: "text", life, text });
      return;
    }
    const frame = JSON.parse(text) as Frame | Frame[];
    const parts = new Map<number, Frame[]>();
    for (const each of Array.isArray(frame) ? frame : [frame]) {
      const tab = this.#receiver(each);
      if (tab === undefined) continue;
      const part = parts.get(tab);
      if (part) part.push(each);
      else parts.set(tab, [each]);
    }
    for (const [tab, part] of parts) this.#deliver(tab, this.#served.get(tab)!, part);
    this.#sendHeld();
  }

  /**
   * The socket is gone: everyone joins the next one.
   *
   * @returns whoever was waiting for this one, and waits for the next
   */
  closed(code: number, reason: string): Join[] {
    for (const [tab, { life }] of this.#served) {
      if (life === undefined) continue;
      const why =
        tab === this.#own ? { code, reason } : { code: CLOSE_AGAIN, reason: "the connection was lost" };
      this.#links.toTab(tab, { kind: "close", life, ...why });
    }
    this.#joins.delete(this.#own);
    return [...this.#joins.values()].filter(({ tab, life }) => this.#served.get(tab)?.life !== life);
  }

  #serve(tab: number): Served {
    const served = {
      life: undefined,
      greeted: false,
      whole: true,
      subs: new Set<number>(),
      resuming: new Set<number>(),
      kept: [],
      keptChars: 0,
    };
    this.#served.set(tab, served);
    return served;
  }

  #open(join: Join): void {
    const { tab, life } = join;
    const known = this.#served.get(tab);
    const served = known ?? this.#serve(tab);
    // Of a tab that was not here from the socket's beginning, something may have come and been turned away.
    served.whole = known !== undefined;
    served.life = life;
    for (const sub of join.subs) served.subs.add(sub);
    this.#links.toTab(tab, { kind: "open", life });
  }

  #hello(tab: number, served: Served, text: string, frame: Frame): void {
    if (!this.#welcome) {
      this.#links.toBroker(text);
      return;
    }
    const join = this.#joins.get(tab)!;
    const resumed = this.#goesOn(served, join);
    served.greeted = true;
    if (!resumed) {
      this.#gone.delete(tab);
      served.kept = [];
      for (const sub of served.subs) this.#unsubscribe(sub);
      served.subs.clear();
    }
    this.#word(tab, served, { ...this.#welcome, id: HELLO_ID, resumed });
    const places = (frame.resume ?? []) as ResumePoint[];
    for (const place of places) this.#resume(tab, served, place);
    const kept = served.kept.filter(({ sub }) => !served.resuming.has(sub!));
    served.kept = [];
    if (kept.length > 0) this.#deliver(tab, served, kept);
  }

  #goesOn({ whole }: Served, { tab, session }: Join): boolean {
    const { resumed, session: own } = this.#welcome!;
    return whole && resumed && session === own && !this.#gone.has(tab);
  }

  /** Only the leader's token counts. */
  #auth(tab: number, text: string, id: number): void {
    const served = this.#served.get(tab)!;
    if (tab === this.#own) this.#links.toBroker(text);
    else this.#word(tab, served, { op: "ok", id });
  }

  /** What `resume` in hello means, for one who says hello when the socket has long been open. */
  #resume(tab: number, served: Served, { sub, to, epoch, seq, credit }: ResumePoint): void {
    this.#unsubscribe(sub);
    this.#ending.delete(sub);
    served.subs.add(sub);
    served.resuming.add(sub);
    this.#ask({ op: "subscribe", sub, to, credit, from: { epoch, seq } }, (frame) => {
      // It may have left, or have ended the subscription itself.
      if (!served.resuming.delete(sub) || this.#served.get(tab) !== served) return;
      const place = { epoch: (frame as OkFrame).epoch, seq: (frame as OkFrame).seq };
      if (frame.op === "ok") {
        this.#word(tab, served, { op: "event", kind: "resumed", sub, ...place, recovered: frame.recovered });
      } else {
        served.subs.delete(sub);
        this.#word(tab, served, {
          op: "event",
          kind: "gone",
          sub,
          reason: `${frame.kind}: ${frame.message}`,
        });
      }
    });
  }

  /** The leader's own ends the socket, and that is its affair. */
  #bye(tab: number): void {
    if (tab !== this.#own) this.drop(tab);
  }

  #send(tab: number, served: Served, text: string, requests: Frame[]): void {
    for (const { op, sub } of requests) {
      if (op === "subscribe") {
        served.subs.add(sub!);
        this.#ending.delete(sub!);
      } else if (op === "unsubscribe") {
        served.subs.delete(sub!);
        served.resuming.delete(sub!);
      }
    }
    const count = requests.filter(({ id }) => id !== undefined).length;
    if (this.#held.length === 0 && this.#unanswered + count <= MAX_UNANSWERED) {
      this.#unanswered += count;
      this.#links.toBroker(text);
    } else if (this.#heldChars + text.length > MAX_HELD_CHARS) {
      this.#close(tab, CLOSE_AGAIN, `${MAX_HELD_CHARS} characters of all tabs wait for the broker`);
    } else {
      this.#heldChars += text.length;
      this.#held.push({ tab, text, requests: count });
    }
  }

  #sendHeld(): void {
    for (let next = this.#held[0]; next; next = this.#held[0]) {
      if (this.#unanswered + next.requests > MAX_UNANSWERED) return;
      this.#held.shift();
      this.#heldChars -= next.text.length;
      this.#unanswered += next.requests;
      this.#links.toBroker(next.text);
    }
  }

  /** Whose a frame is, if it is anybody's; what concerns the connection is the leader's. */
  #receiver(frame: Frame): number | undefined {
    const { id, sub } = frame;
    if (frame.op === "welcome") {
      this.#welcomed(frame as unknown as WelcomeFrame);
      return undefined;
    }
    if (id === undefined && sub === undefined) return this.#own;
    const tab = tabOf(id ?? sub!);
    if (tab === 0) {
      if (id! < FIRST_OWN_ID) return this.#own;
      const answer = this.#answers.get(id!);
      this.#answers.delete(id!);
      answer?.(frame as unknown as OkFrame | ErrorFrame);
      return undefined;
    }
    if (id !== undefined) this.#unanswered = Math.max(0, this.#unanswered - 1);
    const served = this.#served.get(tab);
    if (!served) {
      if (id === undefined && frame.op === "message") this.#unsubscribe(sub!);
      return undefined;
    }
    if (id === undefined && served.resuming.has(sub!)) return undefined;
    if (frame.op === "message") served.subs.add(sub!);
    return tab;
  }

  #welcomed(welcome: WelcomeFrame): void {
    this.#welcome = welcome;
    const served = this.#served.get(this.#own)!;
    const join = this.#joins.get(this.#own)!;
    const resumed = welcome.resumed && join.session === welcome.session;
    served.greeted = true;
    this.#word(this.#own, served, { ...welcome, resumed });
    for (const other of this.#joins.values()) if (other !== join) this.#open(other);
  }

  #deliver(tab: number, served: Served, frames: Frame[]): void {
    // The leader's own hello may be refused.
    if (served.greeted || tab === this.#own) {
      this.#word(tab, served, frames.length === 1 ? frames[0]! : frames);
      return;
    }
    for (const frame of frames) {
      // An answer is to a socket that is gone: the question comes again.
      if (frame.id !== undefined) continue;
      served.kept.push(frame);
      served.keptChars += JSON.stringify(frame).length;
    }
    if (served.keptChars > MAX_KEPT_CHARS) this.#close(tab, CLOSE_AGAIN, "too much came meanwhile");
  }

  #word(tab: number, { life }: Served, frames: object): void {
    if (life === undefined) return;
    const session = this.#welcome?.session;
    this.#links.toTab(tab, { kind: "text", life, text: JSON.stringify(frames), session });
  }

  #close(tab: number, code: number, reason: string): void {
    const life = this.#served.get(tab)?.life ?? this.#joins.get(tab)?.life;
    this.drop(tab);
    if (life !== undefined) this.#links.toTab(tab, { kind: "close", life, code, reason });
  }

  #unsubscribe(sub: number): void {
    if (this.#ending.has(sub) || !this.#welcome) return;
    this.#ending.add(sub);
    // An error says that there is no such subscription, which is what was wanted.
    this.#ask({ op: "unsubscribe", sub }, () => this.#ending.delete(sub));
  }

  #ask(fields: object, answer: Answer): void {
    this.#lastId += 1;
    this.#answers.set(this.#lastId, answer);
    this.#links.toBroker(JSON.stringify({ ...fields, id: this.#lastId }));
  }
}

/** Whether a request carries this tab's numbers, so that its answers and messages will find back. */
function isOf(tab: number, { id, sub }: Frame): boolean {
  return (id === undefined || tabOf(id) === tab) && (sub === undefined || tabOf(sub) === tab);
}
