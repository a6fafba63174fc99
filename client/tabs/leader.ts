// The tab that holds the one socket: opens it for its own client, serves the other tabs over their channels, and notices their death by
// the locks that they hold.
import { CLOSE_AGAIN, type Downward, type Join, type Upward, type Word } from "./messages.ts";
import { Mux } from "./mux.ts";
import type { Channel, Platform, RealSocket } from "./platform.ts";

const CLOSE_NORMAL = 1000;
const CLOSE_GIVEN_UP = 4000;
const CLOSE_TAKEN_OVER = 4409;
/** So often the session was taken from a leader until its client believes that another has the same id. */
const MAX_TAKEOVERS = 3;

/** The lock that a tab holds for as long as it lives. */
export function tabLock(scope: string, tab: number): string {
  return `${scope}:tab:${tab}`;
}

/** The channel between a tab and its leader. */
export function tabChannel(scope: string, tab: number): string {
  return `${scope}:${tab}`;
}

/** Leads until it is stopped. */
export class Leader {
  readonly #id = crypto.getRandomValues(new Uint32Array(2)).join("-");
  readonly #scope: string;
  readonly #own: number;
  readonly #platform: Platform;
  readonly #toSelf: (message: Downward) => void;
  readonly #wanted: () => void;
  readonly #stopping = new AbortController();
  /** The other tabs that live, as far as is known, with the channels to them. */
  readonly #channels = new Map<number, Channel>();
  readonly #gone = new Set<number>();
  /** Who wants a connection while there is none. */
  #joins: Join[] = [];
  #door: Channel | undefined;
  /** The socket of this tab that the socket was opened for. */
  #life: string | undefined;
  #socket: RealSocket | undefined;
  #mux: Mux | undefined;
  #takeovers = 0;

  /**
   * @param own the number of this tab
   * @param links.toSelf carries what the leader tells its own tab
   * @param links.wanted another tab wants a connection, and this one is not even trying to get one
   */
  constructor(
    scope: string,
    own: number,
    platform: Platform,
    links: { toSelf: (message: Downward) => void; wanted: () => void },
  ) {
    this.#scope = scope;
    this.#own = own;
    this.#platform = platform;
    this.#toSelf = links.toSelf;
    this.#wanted = links.wanted;
  }

  /** Finds out who lives, and tells them who leads. A socket must not be opened before. */
  async start(): Promise<void> {
    this.#door = this.#platform.channel(this.#scope, (message) => this.#knocked(message as Join));
    const { held = [] } = await this.#platform.locks.query();
    if (this.#isStopped) return;
    const prefix = tabLock(this.#scope, 0).slice(0, -1);
    for (const { name } of held) {
      if (name?.startsWith(prefix)) this.#know(Number(name.slice(prefix.length)));
    }
    for (const tab of this.#channels.keys()) this.#tell(tab, { kind: "leader" });
  }

  /** Opens the socket for a socket of this tab. */
  connect(join: Join, url: string, protocol: string): void {
    if (this.#life === join.life) return;
    this.disconnect();
    this.#life = join.life;
    const socket = this.#platform.connect(url, protocol);
    const mux = new Mux(join, this.#channels.keys(), this.#gone, {
      toBroker: (text) => {
        if (socket.readyState === 1) socket.send(text);
      },
      toTab: (tab, word) => this.#tell(tab, word),
    });
    this.#socket = socket;
    this.#mux = mux;
    const waiting = this.#joins;
    this.#joins = [];
    for (const one of waiting) mux.join(one);
    const isCurrent = () => this.#mux === mux;
    socket.addEventListener("open", () => isCurrent() && mux.opened());
    socket.addEventListener("message", (event) => {
      const { data } = event as MessageEvent;
      if (isCurrent() && typeof data === "string") mux.fromBroker(data);
    });
    socket.addEventListener("close", (event) => {
      if (isCurrent()) this.#lost(mux, event as CloseEvent);
    });
  }

  /** A frame of this tab. */
  fromSelf(life: string, text: string): void {
    this.#mux?.fromTab(this.#own, life, text);
  }

  /** This tab's client has given its socket up, and so the socket. */
  disconnect(): void {
    const [mux, socket] = [this.#mux, this.#socket];
    this.#mux = undefined;
    this.#socket = undefined;
    if (mux) this.#joins.push(...mux.closed(CLOSE_GIVEN_UP, ""));
    socket?.close(CLOSE_GIVEN_UP);
  }

  /** Leads no more. The session waits at the broker for the next leader. */
  stop(): void {
    if (this.#isStopped) return;
    this.#stopping.abort();
    const [mux, socket] = [this.#mux, this.#socket];
    this.#mux = undefined;
    mux?.closed(CLOSE_AGAIN, "another tab has the connection");
    if (socket?.readyState === 1) socket.send('{"op":"bye"}');
    socket?.close(CLOSE_NORMAL);
    this.#door?.close();
    for (const channel of this.#channels.values()) channel.close();
    this.#channels.clear();
  }

  get #isStopped(): boolean {
    return this.#stopping.signal.aborted;
  }

  #lost(mux: Mux, { code, reason }: { code: number; reason: string }): void {
    this.#mux = undefined;
    // A tab that has stolen the lock from this one, or that has not yet heard that this one stole it. Which, will be known soon.
    const isPassing = code === CLOSE_TAKEN_OVER && ++this.#takeovers < MAX_TAKEOVERS;
    this.#joins.push(...mux.closed(isPassing ? CLOSE_AGAIN : code, reason));
  }

  #knocked(join: Join): void {
    // This tab's own knock, from before it led.
    if (join.tab === this.#own) return;
    this.#know(join.tab);
    if (this.#mux) this.#mux.join(join);
    else {
      this.#joins = [...this.#joins.filter(({ tab }) => tab !== join.tab), join];
      this.#tell(join.tab, { kind: "wait", life: join.life });
      this.#wanted();
    }
  }

  /** Opens the channel to a tab, and waits for its end. */
  #know(tab: number): void {
    if (!Number.isInteger(tab) || tab === this.#own || this.#channels.has(tab) || this.#isStopped) return;
    const heard = (message: unknown) => this.#heard(message as Upward | Downward);
    this.#channels.set(tab, this.#platform.channel(tabChannel(this.#scope, tab), heard));
    const { signal } = this.#stopping;
    const died = () => {
      if (!this.#isStopped) this.#died(tab);
    };
    this.#platform.locks.request(tabLock(this.#scope, tab), { signal }, died).catch(() => {
      // This one leads no more: to watch is the next leader's affair.
    });
  }

  #heard(message: Upward | Downward): void {
    if (message.kind === "leave") this.#left(message);
    // What another leader says to the tab is heard here too.
    else if (message.kind === "text" && "tab" in message) {
      this.#mux?.fromTab(message.tab, message.life, message.text);
    }
  }

  #left({ tab, life }: { tab: number; life: string }): void {
    this.#joins = this.#joins.filter((join) => join.life !== life);
    this.#mux?.leave(tab, life);
  }

  #died(tab: number): void {
    this.#joins = this.#joins.filter((join) => join.tab !== tab);
    this.#mux?.drop(tab);
    this.#channels.get(tab)?.close();
    this.#channels.delete(tab);
  }

  #tell(tab: number, word: Word): void {
    const message = { ...word, leader: this.#id } as Downward;
    if (tab === this.#own) this.#toSelf(message);
    else this.#channels.get(tab)?.post(message);
  }
}
