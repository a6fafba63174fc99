// One room: who is in it, and how its topic tells that. Its place (epoch, seq) is its topic's.
import { MAX_PRESENCE_ROOM_BYTES } from "../limits.ts";
import { quote } from "../message/json.ts";

/** Someone who is there. */
export interface Present {
  readonly client: string;
  /** The session that ends its presence, "" when only time does. */
  session: string;
  /** When it entered, ms since the epoch. */
  readonly since: number;
  /** When it leaves by itself, ms since the epoch; 0: never. */
  expires: number;
  /** JSON text. */
  data: string;
  /** What it takes in a snapshot. */
  bytes: number;
}

/** A time that never comes. */
export const NEVER = Number.POSITIVE_INFINITY;
/** What a member costs beside its id and its data: the names of its fields and its time. */
const MEMBER_BYTES = 48;
const encoder = new TextEncoder();

/** A room in memory. */
export class Room {
  readonly name: string;
  readonly members = new Map<string, Present>();
  /** Bytes of the members. */
  bytes = 0;
  /** Only the count is told. */
  counted = false;
  /** The count that was told last, and when (ms since the epoch); -1 and 0 when this life of the object told none. */
  toldCount = -1;
  toldAt = 0;
  /** When the count is told next; Infinity when it was told. */
  tellAt = NEVER;
  /** No member leaves by itself before this. */
  #expiresAt = NEVER;

  constructor(name: string) {
    this.name = name;
  }

  /** When time changes something here. */
  get due(): number {
    return Math.min(this.tellAt, this.#expiresAt);
  }

  /** Whether it is too large to name its members. */
  isLarge(maxMembers: number): boolean {
    return this.members.size > maxMembers || this.bytes > MAX_PRESENCE_ROOM_BYTES;
  }

  /** Puts a member in, or in its own place. */
  put(member: Present): void {
    this.remove(member.client);
    this.members.set(member.client, member);
    this.bytes += member.bytes;
    if (member.expires > 0) this.#expiresAt = Math.min(this.#expiresAt, member.expires);
  }

  /** Changes what is there, in its place. */
  replace(before: Present, member: Present): void {
    this.bytes += member.bytes - before.bytes;
    this.members.set(member.client, member);
    if (member.expires > 0) this.#expiresAt = Math.min(this.#expiresAt, member.expires);
  }

  remove(client: string): void {
    const known = this.members.get(client);
    if (known === undefined) return;
    this.members.delete(client);
    this.bytes -= known.bytes;
  }

  /** Members whose time is over; looks anew when the next one's is. */
  expired(now: number): Present[] {
    if (this.#expiresAt > now) return [];
    this.#expiresAt = NEVER;
    const over: Present[] = [];
    for (const member of this.members.values()) {
      if (member.expires === 0) continue;
      if (member.expires <= now) over.push(member);
      else this.#expiresAt = Math.min(this.#expiresAt, member.expires);
    }
    return over;
  }

  /** What a new watcher is told. */
  snapshot(): string {
    if (this.counted) return this.count();
    const members = [...this.members.values()].map(
      ({ client, data, since }) => `{"client":${quote(client)},"data":${data},"since":${since}}`,
    );
    return `{"kind":"snapshot","count":${members.length},"members":[${members.join(",")}]}`;
  }

  /** What is told of a large room. */
  count(): string {
    return `{"kind":"count","count":${this.members.size}}`;
  }

  /** What is told of one change. */
  change(action: string, { client, data }: Present): string {
    const own = action === "leave" ? "" : `,"data":${data}`;
    return `{"kind":"change","action":"${action}","client":${quote(client)}${own},"count":${this.members.size}}`;
  }
}

/** What a member takes in a snapshot, bytes. */
export function memberBytes(client: string, data: string): number {
  return MEMBER_BYTES + encoder.encode(client).length + encoder.encode(data).length;
}
