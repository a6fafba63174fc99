// One tab: its locks, its place among the others, and its present socket, over whichever tab leads.
import { Leader, tabChannel, tabLock } from "./leader.ts";
import { CLOSE_AGAIN, CLOSE_BAD_FRAME, type Downward, type Join, type Upward } from "./messages.ts";
import type { Channel, Platform } from "./platform.ts";
import type { Carrier, TabSocket } from "./tab-socket.ts";

/** How a client ends. */
const BYE = '{"op":"bye"}';
const BEAT_MS = 1_000;
/** Beats without a word from a leader until its lock is taken from it: it is frozen, or has been busy for that long. */
const SILENT_BEATS = 8;
/** A tab whose client has had no socket for this long gives back what it holds: its client has ended, or has no network. */
const IDLE_MS = 30_000;

/** This tab among the others. */
export class Member implements Carrier {
  readonly #scope: string;
  readonly #tab: number;
  readonly #platform: Platform;
  /** What it has subscribed, so that a leader that knows it from nothing but this can end it. */
  readonly #subs = new Set<number>();
  #socket: TabSocket | undefined;
  /** The broker's session that this tab was last told of; undefined when nothing goes on. */
  #session: string | undefined;
  /** Present while this tab leads. */
  #leader: Leader | undefined;
  /** Present from the moment it holds the leader's lock. */
  #reign: AbortController | undefined;
  /** Whether it stands in the line of those who may lead. */
  #isQueued = false;
  /** Whoever leads, as far as this tab has heard. */
  #leaderId: string | undefined;
  #channel: Channel | undefined;
  /** Present while this tab holds its lock, or waits for it. */
  #stay: { end: AbortController; entered: Promise<void> } | undefined;
  #stopBeat: (() => void) | undefined;
  #silentBeats = 0;
  #stopIdle: (() => void) | undefined;

  /**
   * @param scope what all tabs that share a connection name alike
   * @param tab this tab's number
   */
  constructor(scope: string, tab: number, platform: Platform) {
    this.#scope = scope;
    this.#tab = tab;
    this.#platform = platform;
    platform.onSuspend(() => this.#suspend());
  }

  join(socket: TabSocket): void {
    this.#socket?.closed(CLOSE_AGAIN, "replaced by another");
    this.#socket = socket;
    this.#stopIdle?.();
    this.#silentBeats = 0;
    this.#stopBeat?.();
    this.#stopBeat = this.#platform.every(() => this.#beat(), BEAT_MS);
    this.#stay ??= this.#enter();
    void this.#stay.entered.then(() => this.#connect(socket));
  }

  send(socket: TabSocket, text: string): void {
    if (socket !== this.#socket) return;
    if (/subscribe"/.test(text)) this.#note(text);
    if (this.#leader) this.#leader.fromSelf(socket.life, text);
    else this.#say({ kind: "text", tab: this.#tab, life: socket.life, text });
    if (text !== BYE) return;
    this.#drop();
    this.#leave();
  }

  leave(socket: TabSocket): void {
    if (socket !== this.#socket) return;
    this.#drop();
    if (this.#leader) this.#leader.disconnect();
    else this.#say({ kind: "leave", tab: this.#tab, life: socket.life });
  }

  /** Takes this tab's lock, and then a place in the line of those who may lead. */
  #enter(): { end: AbortController; entered: Promise<void> } {
    const end = new AbortController();
    const { locks, channel } = this.#platform;
    this.#channel = channel(tabChannel(this.#scope, this.#tab), (message) =>
      this.#heard(message as Downward),
    );
    const ended = new Promise<void>((resolve) => end.signal.addEventListener("abort", () => resolve()));
    const entered = new Promise<void>((resolve) => {
      const held = () => {
        resolve();
        return ended;
      };
      // Where the lock was given back a moment ago, the leader hears of that first, and this tab begins anew.
      locks.request(tabLock(this.#scope, this.#tab), { signal: end.signal }, held).catch(() => {});
    });
    void entered.then(() => {
      if (!end.signal.aborted) this.#queue(end, false);
    });
    return { end, entered };
  }

  /** Waits for its turn to lead, or takes the place of one that is silent. */
  #queue(stay: AbortController, steal: boolean): void {
    if (!steal && this.#isQueued) return;
    this.#isQueued ||= !steal;
    const reign = new AbortController();
    stay.signal.addEventListener("abort", () => reign.abort());
    const lead = () => {
      this.#isQueued &&= steal;
      return reign.signal.aborted ? undefined : this.#lead(reign);
    };
    const again = () => {
      reign.abort();
      if (!stay.signal.aborted) this.#queue(stay, false);
    };
    const options = steal ? { steal } : { signal: stay.signal };
    this.#platform.locks.request(this.#scope, options, lead).then(again, (error: Error) => {
      // Stolen: another tab has had no word from this one for long. Any other error would come again.
      if (error.name === "AbortError") again();
    });
  }

  /** Leads until the reign is over. */
  async #lead(reign: AbortController): Promise<void> {
    // An earlier one of this tab has lost the lock to this one, and will hear of it.
    this.#reign?.abort();
    this.#reign = reign;
    const { signal } = reign;
    const leader = new Leader(this.#scope, this.#tab, this.#platform, {
      toSelf: (message) => this.#heard(message),
      // Its client has ended, or waits for its next attempt: whoever has a socket to open may go first.
      wanted: () => this.#socket ?? reign.abort(),
    });
    const over = new Promise<void>((resolve) => {
      signal.addEventListener("abort", () => {
        leader.stop();
        if (this.#leader === leader) this.#leader = undefined;
        if (this.#reign === reign) this.#reign = undefined;
        resolve();
      });
    });
    await leader.start();
    if (!signal.aborted) {
      this.#leader = leader;
      const socket = this.#socket;
      if (socket?.readyState === 1) this.#lose(CLOSE_AGAIN, "the leader is gone");
      else if (socket) this.#connect(socket);
    }
    await over;
  }

  #connect(socket: TabSocket): void {
    if (socket !== this.#socket || socket.readyState !== 0) return;
    if (this.#leader) this.#leader.connect(this.#wish(socket), socket.url, socket.protocol);
    else this.#knock(socket);
  }

  #wish({ life }: TabSocket): Join {
    return { kind: "join", tab: this.#tab, life, session: this.#session, subs: [...this.#subs] };
  }

  /** Opened for one message only: what others say at the door is none of this tab's business. */
  #knock(socket: TabSocket): void {
    const door = this.#platform.channel(this.#scope, () => {});
    door.post(this.#wish(socket));
    door.close();
  }

  #say(message: Upward): void {
    this.#channel?.post(message);
  }

  #heard(message: Downward): void {
    const socket = this.#socket;
    if (!("leader" in message)) return;
    this.#silentBeats = 0;
    if (message.kind === "forget") this.#forget(message.leader);
    else if (message.kind === "leader") this.#follow(message.leader);
    else if (!socket || message.life !== socket.life) return;
    else if (message.kind === "open") this.#opened(socket, message.leader);
    else if (message.kind === "close") {
      if (socket.readyState === 0 || message.leader === this.#leaderId)
        this.#lose(message.code, message.reason);
    } else if (message.kind === "text" && message.leader === this.#leaderId) {
      this.#session = message.session ?? this.#session;
      socket.received(message.text);
    }
  }

  #opened(socket: TabSocket, leader: string): void {
    if (socket.readyState === 0) {
      this.#leaderId = leader;
      this.#stopBeat?.();
      socket.opened();
    } else if (leader !== this.#leaderId) {
      // Two have answered, and one of them leads no more: a new knock will tell which.
      this.#lose(CLOSE_AGAIN, "another tab leads");
    }
  }

  /** A leader has ended what this tab had, perhaps one whose tab this is no more. */
  #forget(leader: string): void {
    this.#session = undefined;
    if (this.#socket?.readyState === 1 && leader !== this.#leaderId) this.#lose(CLOSE_AGAIN, "");
  }

  #follow(leader: string): void {
    const socket = this.#socket;
    if (!socket || this.#leader) return;
    if (socket.readyState === 0) this.#knock(socket);
    else if (leader !== this.#leaderId) this.#lose(CLOSE_AGAIN, "another tab leads");
  }

  /** The present socket is lost. */
  #lose(code: number, reason: string): void {
    const socket = this.#socket;
    this.#drop();
    socket?.closed(code, reason);
    // Its client will not come again.
    if (code >= CLOSE_BAD_FRAME && code < 5_000) this.#leave();
  }

  #drop(): void {
    this.#socket = undefined;
    this.#stopBeat?.();
    this.#stopIdle?.();
    this.#stopIdle = this.#platform.every(() => this.#leave(), IDLE_MS);
  }

  #beat(): void {
    const socket = this.#socket;
    if (socket?.readyState !== 0 || this.#reign || !this.#stay) return;
    this.#silentBeats += 1;
    if (this.#silentBeats < SILENT_BEATS) this.#knock(socket);
    else {
      this.#silentBeats = 0;
      this.#queue(this.#stay.end, true);
    }
  }

  #suspend(): void {
    if (!this.#stay) return;
    this.#lose(CLOSE_AGAIN, "the page is put away");
    this.#leave();
  }

  /** Gives back everything: whatever this tab had goes to others, and another one leads. */
  #leave(): void {
    this.#stopIdle?.();
    this.#session = undefined;
    this.#stay?.end.abort();
    this.#stay = undefined;
    this.#isQueued = false;
    this.#channel?.close();
  }

  #note(text: string): void {
    const frame = JSON.parse(text) as { op: string; sub: number } | { op: string; sub: number }[];
    for (const { op, sub } of Array.isArray(frame) ? frame : [frame]) {
      if (op === "subscribe") this.#subs.add(sub);
      else if (op === "unsubscribe") this.#subs.delete(sub);
    }
  }
}
