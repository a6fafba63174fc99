// A client of one tab that does the least a client must: repeats what was not answered, resubscribes what did not go on, takes a
// delivery once, and writes down what happened.

import { NUMBERS } from "../../../client/tabs/numbers.ts";
import type { SharedSocket } from "../../../client/tabs/shared-socket.ts";
import type { TabSocket } from "../../../client/tabs/tab-socket.ts";
import type { Frame } from "./fake-broker.ts";
import type { FakeBrowser } from "./fake-platform.ts";

export class NaiveClient {
  readonly tab: number;
  readonly published = new Set<string>();
  readonly confirmed = new Set<string>();
  /** Handles in hand, by the message's id. */
  readonly inHand = new Map<string, string>();
  readonly acked: string[] = [];
  readonly lost: string[] = [];
  /** What must not happen. */
  readonly complaints: string[] = [];
  readonly welcomes: boolean[] = [];
  readonly states: string[] = [];
  readonly #browser: FakeBrowser;
  readonly #options: Required<SharedSocket>;
  readonly #unanswered = new Map<number, { frame: Frame; done: (frame: Frame) => void }>();
  readonly #held = new Map<string, { messageId: string; sub: number }>();
  #socket: TabSocket | undefined;
  #isOpen = false;
  #lastId: number;
  #sub: number | undefined;
  #subscribed = false;
  #over = false;

  constructor(browser: FakeBrowser, tab: number, options: Required<SharedSocket>) {
    this.#browser = browser;
    this.tab = tab;
    this.#options = options;
    this.#lastId = options.firstNumber + 2;
    this.#connect();
  }

  get unanswered(): number {
    return this.#unanswered.size;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  publish(messageId: string): void {
    this.published.add(messageId);
    this.#ask({ op: "publish", to: "queue:jobs", messageId }, () => this.confirmed.add(messageId));
  }

  consume(): void {
    if (this.#sub !== undefined) return;
    this.#sub = this.#options.firstNumber + 7;
    if (this.#isOpen) this.#subscribe();
  }

  /** Acks what is in hand. */
  work(): void {
    for (const [handle, messageId] of [...this.inHand]) {
      this.inHand.delete(handle);
      this.#ask({ op: "settle", sub: this.#sub!, ack: [handle] }, (frame) => {
        this.#held.delete(handle);
        const isLost = frame.op === "error" || (frame.lost as string[]).length > 0;
        (isLost ? this.lost : this.acked).push(messageId);
      });
    }
  }

  /** Takes the connection for dead. */
  giveUp(): void {
    if (this.#over) return;
    this.#isOpen = false;
    this.#socket!.close();
    this.#again();
  }

  bye(): void {
    this.#over = true;
    if (this.#socket!.readyState === 1) this.#socket!.send('{"op":"bye"}');
    this.#socket!.close();
  }

  #ask(fields: Frame, done: (frame: Frame) => void): void {
    this.#lastId += 1;
    const frame = { ...fields, id: this.#lastId };
    this.#unanswered.set(frame.id, { frame, done });
    if (this.#isOpen) this.#socket!.send(JSON.stringify(frame));
  }

  #connect(): void {
    const socket = new this.#options.WebSocket("ws://broker/", "dunlin.v1.json") as TabSocket;
    this.#socket = socket;
    socket.addEventListener("open", () => {
      if (socket === this.#socket)
        socket.send(JSON.stringify({ op: "hello", id: 1, client: this.#options.client }));
    });
    socket.addEventListener("message", (event) => {
      const { data } = event as MessageEvent<string>;
      if (socket !== this.#socket || data === "pong") return;
      const frame = JSON.parse(data) as Frame | Frame[];
      for (const each of Array.isArray(frame) ? frame : [frame]) this.#take(each);
    });
    socket.addEventListener("close", (event) => {
      if (socket !== this.#socket) return;
      this.#isOpen = false;
      const { code } = event as CloseEvent;
      this.states.push(`closed ${code}`);
      if (code >= 4400) this.#over = true;
      else this.#again();
    });
  }

  #again(): void {
    this.#browser.later(`backoff>${this.tab}`, this.tab, () => {
      if (!this.#over && this.#socket!.readyState === 3) this.#connect();
    });
  }

  #take(frame: Frame): void {
    if (frame.op === "welcome") this.#welcomed(frame.resumed as boolean);
    else if (frame.op === "message") this.#delivered(frame);
    else if (frame.id !== undefined) {
      if (Math.floor(frame.id / NUMBERS) * NUMBERS !== this.#options.firstNumber)
        this.#complain("an answer", frame);
      const request = this.#unanswered.get(frame.id);
      this.#unanswered.delete(frame.id);
      request?.done(frame);
    }
  }

  #welcomed(resumed: boolean): void {
    if (this.#isOpen) this.complaints.push("a second welcome");
    this.#isOpen = true;
    this.welcomes.push(resumed);
    if (!resumed) this.#subscribed = false;
    if (this.#sub !== undefined && !this.#subscribed) this.#subscribe();
    for (const { frame } of [...this.#unanswered.values()]) {
      if (frame.op !== "subscribe") this.#socket!.send(JSON.stringify(frame));
    }
  }

  #subscribe(): void {
    for (const [id, { frame }] of this.#unanswered) if (frame.op === "subscribe") this.#unanswered.delete(id);
    this.#ask({ op: "subscribe", sub: this.#sub!, to: "queue:jobs" }, () => {
      this.#subscribed = true;
    });
  }

  #delivered(frame: Frame): void {
    const { delivery, messageId, sub } = frame as Frame & { delivery: string; messageId: string };
    if (sub !== this.#sub) this.#complain("a message", frame);
    if (this.#held.has(delivery)) return;
    this.#held.set(delivery, { messageId, sub: sub! });
    this.inHand.set(delivery, messageId);
  }

  #complain(what: string, frame: Frame): void {
    this.complaints.push(`tab ${this.tab} got ${what} that is not its own: ${JSON.stringify(frame)}`);
  }
}
