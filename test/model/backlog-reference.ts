// The naive backlog: every message is copied to every session that is owed it. What a Backlog does must look the same.

const PACKET_IDS = 32_767;

/** A session's own copy of a message. */
export interface Copy {
  index: number;
  body: string;
  bytes: number;
  qos: 1 | 2;
  retain: boolean;
  subscriptionIds: number[];
  expiresAt: number;
  kept: boolean;
  state: "waiting" | "sent" | "released";
  onWire: boolean;
  counts: boolean;
}

/** A PUBLISH or PUBREL as the reference expects it. */
export type Expected =
  | { packetId: number; release: true }
  | { packetId: number; dup: boolean; body: string; qos: 1 | 2; retain: boolean; subscriptionIds: number[] };

/** What a session is owed, as plain lists. */
export class ReferenceSession {
  readonly durable: boolean;
  readonly limit: number;
  copies: Copy[] = [];
  next = 0;
  window = 0;
  inbound = new Set<number>();
  lent = new Set<number>();

  constructor(durable: boolean, limit: number) {
    this.durable = durable;
    this.limit = limit;
  }

  get waiting(): Copy[] {
    return this.copies.filter(({ state }) => state === "waiting");
  }

  get flying(): Copy[] {
    return this.copies.filter(({ state }) => state !== "waiting");
  }

  get roomy(): boolean {
    return this.copies.filter(({ counts }) => counts).length + this.lent.size < this.window;
  }

  get open(): boolean {
    const again = this.flying.some(({ onWire, state }) => state === "sent" && !onWire);
    return this.roomy && this.waiting.length === 0 && !again;
  }

  get bytes(): number {
    return this.copies
      .filter(({ state }) => this.durable || state === "waiting")
      .reduce((sum, { bytes }) => sum + bytes, 0);
  }

  offer(copy: Omit<Copy, "index" | "state" | "onWire" | "counts">): number | undefined {
    const { open } = this;
    const index = this.next++;
    this.copies.push({ ...copy, index, state: open ? "sent" : "waiting", onWire: open, counts: open });
    if (open) return idOf(index);
    if (this.waiting.length > this.limit) this.#remove(this.waiting[0]!);
    return undefined;
  }

  send(): Expected | undefined {
    if (!this.roomy) return undefined;
    const copy = this.copies.find(
      ({ state, onWire }) => state === "waiting" || (state === "sent" && !onWire),
    );
    return copy === undefined ? undefined : this.#send(copy);
  }

  resume(): Expected[] {
    this.lost();
    const sends: Expected[] = [];
    for (const copy of this.flying) {
      if (copy.state === "released") {
        copy.onWire = true;
        sends.push({ packetId: idOf(copy.index), release: true });
      } else if (this.roomy) sends.push(this.#send(copy));
    }
    return sends;
  }

  puback(packetId: number): boolean {
    const copy = this.#flight(packetId);
    if (copy?.qos !== 1) return false;
    this.#remove(copy);
    return true;
  }

  pubrec(packetId: number, failed: boolean): "release" | "done" | "unknown" {
    const copy = this.#flight(packetId);
    if (copy?.qos !== 2) return "unknown";
    if (failed) this.#remove(copy);
    else copy.state = "released";
    return failed ? "done" : "release";
  }

  pubcomp(packetId: number): boolean {
    const copy = this.#flight(packetId);
    if (copy?.state !== "released") return false;
    this.#remove(copy);
    return true;
  }

  /** The connection's own marks end with it. */
  lost(): void {
    this.lent.clear();
    for (const copy of this.copies) {
      copy.onWire = false;
      copy.counts = false;
    }
  }

  expire(now: number): void {
    this.copies = this.copies.filter(
      ({ state, expiresAt }) => state !== "waiting" || expiresAt === 0 || expiresAt > now,
    );
  }

  clone(): ReferenceSession {
    const clone = new ReferenceSession(this.durable, this.limit);
    clone.copies = this.copies.map((copy) => ({ ...copy }));
    clone.next = this.next;
    clone.window = this.window;
    clone.inbound = new Set(this.inbound);
    clone.lent = new Set(this.lent);
    return clone;
  }

  #send(copy: Copy): Expected {
    const dup = copy.state === "sent";
    Object.assign(copy, { state: "sent", onWire: true, counts: true });
    const { body, qos, retain, subscriptionIds } = copy;
    return { packetId: idOf(copy.index), dup, body, qos, retain, subscriptionIds };
  }

  #flight(packetId: number): Copy | undefined {
    return this.flying.find(({ index }) => idOf(index) === packetId);
  }

  #remove(copy: Copy): void {
    this.copies.splice(this.copies.indexOf(copy), 1);
  }
}

function idOf(index: number): number {
  return 1 + (index % PACKET_IDS);
}
