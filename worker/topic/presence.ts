// The rooms of a topic object: who enters and leaves, what their topics tell of it, and what of it is stored. [PRS1]
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { isExact, matches } from "../filter/filter.ts";
import { MAX_PRESENT, MAX_PRESENT_BYTES } from "../limits.ts";
import { isPresence, presenceAction } from "../message/presence.ts";
import type { RecordView } from "../message/record.ts";
import { memberBytes, NEVER, type Present, Room } from "./room.ts";
import type { TopicState } from "./state.ts";
import type { TopicStore } from "./store.ts";

/** The count of a large room is told this often at most. */
const COUNT_INTERVAL_MS = 1_000;

/** What is known of every room that is not empty. */
interface Summary {
  epoch: number;
  seq: number;
  members: number;
  bytes: number;
  due: number;
}

/** What the rooms need of their object. */
export interface PresenceOwner {
  store: TopicStore;
  /** Members of one room whom it names. */
  maxMembers: number;
  /** The topic of a room. */
  state: (name: string, now: number) => TopicState;
  /** Publishes what a room tells: gives it the topic's next seq. */
  tell: (state: TopicState, body: string, client: string, now: number) => void;
}

/**
 * Rooms by name. Their names are in memory, members from when a room is used; what a turn changes is written at its end: a row for each
 * member, and one for the room. A room whose last member has left is forgotten with its place, so that an epoch begins with an empty room.
 */
export class Presence {
  readonly #owner: PresenceOwner;
  readonly #summaries = new Map<string, Summary>();
  readonly #rooms = new Map<string, Room>();
  /** Members that this turn changes, by room; their topics. */
  readonly #changed = new Map<string, { state: TopicState; clients: Set<string> }>();
  #members = 0;
  #bytes = 0;
  /** When `run` wants to be called, ms since the epoch; Infinity when never. */
  nextDeadline = NEVER;

  constructor(owner: PresenceOwner) {
    this.#owner = owner;
    for (const { name, due, ...row } of owner.store.read("room", "SELECT * FROM room")) {
      const { epoch, seq, members, bytes } = row as unknown as Summary;
      const summary = { epoch, seq, members, bytes, due: due === 0 ? NEVER : (due as number) };
      this.#summaries.set(name as string, summary);
      this.#members += members;
      this.#bytes += bytes;
      this.nextDeadline = Math.min(this.nextDeadline, summary.due);
    }
  }

  get dirty(): boolean {
    return this.#changed.size > 0;
  }

  has(name: string): boolean {
    return this.#summaries.has(name) || this.#rooms.has(name);
  }

  /** Where the topic of a room stands that was there before this life of the object. */
  place(name: string): { epoch: number; seq: number } | undefined {
    return this.#summaries.get(name);
  }

  /** Rooms that a filter matches, after `after`, by name. The one that an exact filter names is there, were it empty. */
  matching(filter: string, after: string): string[] {
    if (!isPresence(filter)) return [];
    if (isExact(filter)) return filter > after ? [filter] : [];
    return [...this.#names()].filter((name) => name > after && matches(filter, name)).sort();
  }

  /** What a room's topic has as its retained message. */
  snapshot(name: string): string {
    return (this.has(name) ? this.#room(name) : new Room(name)).snapshot();
  }

  /** Does what a message says. What changes nothing is told to no one. */
  publish(state: TopicState, view: RecordView, now: number): Refusal | undefined {
    const refusal = this.#publish(state, view, now);
    // A room that nobody is in, and that nothing happened to, is not remembered.
    if (!this.#summaries.has(state.name) && !this.#changed.has(state.name)) this.#rooms.delete(state.name);
    return refusal;
  }

  #publish(state: TopicState, view: RecordView, now: number): Refusal | undefined {
    const { publisher: client, group: session, body } = view;
    const said = presenceAction({ body });
    if (isRefusal(said)) return said;
    if (client === "") return refuse("forbidden", "nobody enters a room without an id");
    const room = this.#room(state.name);
    const known = room.members.get(client);
    if (known !== undefined && session === "" && known.session !== "") {
      return refuse(
        "conflict",
        `${JSON.stringify(client)} is there by its session: nobody else speaks for it`,
      );
    }
    if (said.action === "leave") {
      // A session that has ended leaves late, when its client may be there again by the next one. [PRS9]
      if (known !== undefined && known.session === session) this.#leave(state, room, known, now);
      return undefined;
    }
    const { data } = said;
    const bytes = memberBytes(client, data);
    const member = { client, session, since: known?.since ?? now, expires: view.expiresAt, data, bytes };
    const refusal = this.#check(member, known);
    if (refusal !== undefined) return refusal;
    this.#bytes += bytes - (known?.bytes ?? 0);
    if (known === undefined) {
      this.#members++;
      room.put(member);
      this.#note(state, client);
      this.#told(state, room, "enter", member, now);
    } else {
      room.replace(known, member);
      if (known.session !== session || known.expires !== member.expires || known.data !== data)
        this.#note(state, client);
      if (known.data !== data) this.#told(state, room, "update", member, now);
    }
    this.#watch(room);
    return undefined;
  }

  /** Does what time has made due. */
  run(now: number): void {
    if (now < this.nextDeadline) return;
    this.nextDeadline = NEVER;
    for (const name of this.#names()) {
      const due = this.#rooms.get(name)?.due ?? this.#summaries.get(name)!.due;
      if (due > now) {
        this.nextDeadline = Math.min(this.nextDeadline, due);
        continue;
      }
      const state = this.#owner.state(name, now);
      const room = this.#room(name);
      for (const member of room.expired(now)) this.#leave(state, room, member, now);
      if (room.tellAt <= now) this.#tellCount(state, room, now);
      this.#note(state);
      this.#watch(room);
    }
  }

  /** Writes what the turn changed. */
  flush(): void {
    const { store } = this.#owner;
    for (const [name, { state, clients }] of this.#changed) {
      const room = this.#room(name);
      for (const client of clients) this.#writeMember(room, client);
      if (room.members.size === 0 && !room.counted) {
        if (this.#summaries.delete(name)) store.remove("room", "DELETE FROM room WHERE name = ?", name);
        this.#rooms.delete(name);
        continue;
      }
      const { epoch, seq } = state;
      const { due, bytes, counted, members } = room;
      this.#summaries.set(name, { epoch, seq, members: members.size, bytes, due });
      const query = "INSERT OR REPLACE INTO room VALUES (?, ?, ?, ?, ?, ?, ?)";
      const dueAt = due === NEVER ? 0 : due;
      store.write("room", query, name, epoch, seq, members.size, bytes, counted ? 1 : 0, dueAt);
    }
    this.#changed.clear();
  }

  #names(): Set<string> {
    return new Set([...this.#summaries.keys(), ...this.#rooms.keys()]);
  }

  #check(member: Present, known: Present | undefined): Refusal | undefined {
    if (known === undefined && this.#members >= MAX_PRESENT) {
      return refuse("too-many", `${MAX_PRESENT} members are in the rooms here, which is the limit`, 10_000);
    }
    const more = member.bytes - (known?.bytes ?? 0);
    if (more <= 0 || this.#bytes + more <= MAX_PRESENT_BYTES) return undefined;
    return refuse(
      "too-many",
      `members of the rooms here have ${MAX_PRESENT_BYTES} bytes, which is the limit`,
      10_000,
    );
  }

  #leave(state: TopicState, room: Room, member: Present, now: number): void {
    room.remove(member.client);
    this.#members--;
    this.#bytes -= member.bytes;
    this.#note(state, member.client);
    this.#told(state, room, "leave", member, now);
    this.#watch(room);
  }

  /** Tells a change; of a large room only how many are left, and not at once if it was told just now. [PRS6] */
  #told(state: TopicState, room: Room, action: string, member: Present, now: number): void {
    const large = room.isLarge(this.#owner.maxMembers);
    if (!room.counted && !large) {
      this.#owner.tell(state, room.change(action, member), member.client, now);
      return;
    }
    if (large && action === "update" && room.counted) return;
    room.counted = true;
    room.tellAt = Math.min(room.tellAt, room.toldAt + COUNT_INTERVAL_MS);
    if (room.tellAt <= now) this.#tellCount(state, room, now);
  }

  /** A room that is not large any more names its members again. */
  #tellCount(state: TopicState, room: Room, now: number): void {
    room.tellAt = NEVER;
    const large = room.isLarge(this.#owner.maxMembers);
    if (large && room.toldCount === room.members.size) return;
    room.counted = large;
    room.toldAt = now;
    room.toldCount = large ? room.members.size : -1;
    this.#owner.tell(state, room.snapshot(), "", now);
  }

  #note(state: TopicState, client?: string): void {
    let changed = this.#changed.get(state.name);
    if (changed === undefined) {
      changed = { state, clients: new Set() };
      this.#changed.set(state.name, changed);
    }
    if (client !== undefined) changed.clients.add(client);
  }

  #watch({ due }: Room): void {
    this.nextDeadline = Math.min(this.nextDeadline, due);
  }

  #room(name: string): Room {
    let room = this.#rooms.get(name);
    if (room === undefined) {
      room = new Room(name);
      this.#rooms.set(name, room);
      if (this.#summaries.has(name)) this.#load(room);
    }
    return room;
  }

  #load(room: Room): void {
    const { store } = this.#owner;
    const [row] = store.read("room", "SELECT counted, due FROM room WHERE name = ?", room.name);
    room.counted = row?.counted === 1;
    // What was to be told by time of a large room is told when that time comes.
    if (room.counted && row!.due !== 0) room.tellAt = row!.due as number;
    const query =
      "SELECT client, session, since, expires, data FROM member WHERE room = ? ORDER BY since, client";
    for (const row of store.read("member", query, room.name)) {
      const member = row as unknown as Omit<Present, "bytes">;
      room.put({ ...member, bytes: memberBytes(member.client, member.data) });
    }
  }

  #writeMember({ name, members }: Room, client: string): void {
    const { store } = this.#owner;
    const member = members.get(client);
    if (member === undefined) {
      store.remove("member", "DELETE FROM member WHERE room = ? AND client = ?", name, client);
      return;
    }
    const { session, since, expires, data } = member;
    const query = "INSERT OR REPLACE INTO member VALUES (?, ?, ?, ?, ?, ?)";
    store.write("member", query, name, client, session, since, expires, data);
  }
}
