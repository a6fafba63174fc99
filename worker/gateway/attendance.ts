// Which rooms (topics `$presence/ROOM`) the sessions of a gateway are in. A row stands here from before a session enters until its room
// knows that it has left, so that whatever ends a session, and whenever this object dies, no room keeps who is gone.
import { permits } from "../auth/permission.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { MAX_SESSION_ROOMS } from "../limits.ts";
import type { Sql } from "../log/sql.ts";
import { freshId } from "../message/fields.ts";
import { type PresenceAction, presenceAction, toPresence } from "../message/presence.ts";
import { EMPTY_MESSAGE, type Message } from "../message/record.ts";
import type { ObjectLink, PublishDone } from "./object-link.ts";
import type { Session } from "./session.ts";

/* PERSISTED: attendance ( session TEXT, topic TEXT PRIMARY KEY | namespace TEXT, client TEXT ) WITHOUT ROWID */

/** Words of leaving that are under way at most. */
const MAX_LEAVING = 1_000;
const RETRY_MS = 1_000;
/** While sessions are in rooms, the gateway wakes this often, should it have died with their sockets. */
const WATCH_MS = 30_000;
/** Refusals that say nothing of what became of the message. */
const UNKNOWN = new Set<string>(["unavailable", "internal"]);
/** Refusals that may end by themselves. */
const PASSING = new Set<string>([...UNKNOWN, "too-many"]);

/** What this part needs of its gateway. */
export interface AttendanceOwner {
  sql: Sql;
  /** The way to the object of a topic. */
  link: (namespace: string, topic: string) => ObjectLink;
  flush: () => void;
}

/** A session in a room. */
interface Place {
  readonly session: string;
  readonly topic: string;
  readonly namespace: string;
  readonly client: string;
  /** Whether the room has ever said that the session is in. */
  certain: boolean;
  /** Rises with whatever the session says: an answer to what it said before means nothing any more. */
  said: number;
}

/** The rooms of one gateway's sessions. */
export class Attendance {
  readonly #owner: AttendanceOwner;
  /** By session and topic. */
  readonly #places = new Map<string, Map<string, Place>>();
  /** What was left and its room does not know it, in order. */
  #leaving: Place[] = [];
  #underWay = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #watchAt: number;
  #exists: boolean;

  constructor(owner: AttendanceOwner, now: number) {
    this.#owner = owner;
    this.#watchAt = now + WATCH_MS;
    this.#exists = owner.sql.all("SELECT 1 FROM sqlite_master WHERE name = 'attendance'").length > 0;
    if (!this.#exists) return;
    for (const row of owner.sql.all("SELECT session, topic, namespace, client FROM attendance")) {
      const saved = row as unknown as Omit<Place, "certain" | "said">;
      this.#add({ ...saved, certain: true, said: 0 });
    }
  }

  /** When `run` wants to be called, ms since the epoch; Infinity while nobody is anywhere. */
  get nextDeadline(): number {
    const nobody = this.#places.size === 0 && this.#leaving.length === 0 && this.#underWay === 0;
    return nobody ? Number.POSITIVE_INFINITY : this.#watchAt;
  }

  /**
   * Says something to a room in a session's name.
   *
   * @param given a message with the action as its body
   * @param done hears what the room answers; `too-many` when the session is in too many rooms
   */
  publish(session: Session, topic: string, given: Message, done: PublishDone): void {
    const said = presenceAction(given);
    if (isRefusal(said)) return done(said);
    const member = { client: session.client, session: session.id };
    const message = toPresence(given, topic, member, said);
    if (isRefusal(message)) return done(message);
    const place = this.#note(session, topic, said);
    if (isRefusal(place)) return done(place);
    const count = place === undefined ? 0 : ++place.said;
    this.#owner.link(session.namespace, topic).publish(message, (outcome) => {
      if (place?.said === count) this.#answered(place, said, outcome);
      done(outcome);
    });
  }

  /** A session has ended, or its client has said goodbye: it leaves every room. [PRS12] */
  leaveAll({ id }: Pick<Session, "id">): void {
    const places = this.#places.get(id);
    if (places === undefined) return;
    for (const place of places.values()) this.#leave(place);
    this.#send();
  }

  /** A session has another token: it leaves the rooms that this one does not allow. */
  authorize({ id, principal }: Session): void {
    for (const place of this.#places.get(id)?.values() ?? []) {
      if (permits(principal, "publish", `topic:${place.topic}`) !== undefined) this.#leave(place);
    }
    this.#send();
  }

  /** The gateway's object has woken: sessions that are not among these ended while it was away. */
  keepOnly(sessions: ReadonlySet<string>): void {
    for (const [id, places] of this.#places) {
      if (sessions.has(id)) continue;
      for (const place of places.values()) this.#leave(place);
    }
    this.#send();
  }

  /** To be awake was all: what had to be done was done as the object woke. */
  run(now: number): void {
    if (now < this.#watchAt) return;
    this.#watchAt = now + WATCH_MS;
    this.#send();
  }

  /** The session's place in a room; one that enters is written down before the room can hear of it. */
  #note(session: Session, topic: string, { action }: PresenceAction): Place | undefined | Refusal {
    const places = this.#places.get(session.id);
    const known = places?.get(topic);
    if (known !== undefined || action === "leave") return known;
    if (places !== undefined && places.size >= MAX_SESSION_ROOMS) {
      return refuse("too-many", `a session is in at most ${MAX_SESSION_ROOMS} rooms`, RETRY_MS);
    }
    const { id, namespace, client } = session;
    const place = { session: id, topic, namespace, client, certain: false, said: 0 };
    this.#create();
    this.#owner.sql.all(
      "INSERT OR REPLACE INTO attendance VALUES (?, ?, ?, ?)",
      id,
      topic,
      namespace,
      client,
    );
    this.#add(place);
    return place;
  }

  #answered(place: Place, { action }: PresenceAction, outcome: object): void {
    const refused = isRefusal(outcome);
    if (!refused && action !== "leave") place.certain = true;
    // Whether a message whose answer was lost has arrived is not known: the place stays, and is left in its time.
    const out = refused ? !place.certain && !UNKNOWN.has(outcome.kind) : action === "leave";
    if (!out || this.#places.get(place.session)?.get(place.topic) !== place) return;
    this.#drop(place);
    this.#erase(place);
  }

  #leave(place: Place): void {
    this.#drop(place);
    // An answer to what it said before must not take the row away.
    place.said++;
    this.#leaving.push(place);
  }

  /** Tells rooms who has left. [PRS13] */
  #send(): void {
    while (this.#retry === undefined && this.#leaving.length > 0 && this.#underWay < MAX_LEAVING) {
      const place = this.#leaving.shift()!;
      if (!this.#isBack(place)) this.#tell(place);
    }
  }

  #tell(place: Place): void {
    const { session, client, namespace, topic } = place;
    const given = { ...EMPTY_MESSAGE, messageId: freshId() };
    const message = toPresence(given, topic, { client, session }, { action: "leave", data: "null" });
    if (isRefusal(message)) return this.#erase(place);
    this.#underWay++;
    this.#owner.link(namespace, topic).publish(message, (outcome) => {
      this.#underWay--;
      if (this.#isBack(place)) return this.#send();
      if (isRefusal(outcome) && PASSING.has(outcome.kind)) return this.#later(place);
      if (isRefusal(outcome)) console.error(`${client} could not leave ${topic}: ${outcome.message}`);
      this.#erase(place);
      this.#send();
    });
  }

  /** Whether the same session has entered again since: what it said last counts. */
  #isBack({ session, topic }: Place): boolean {
    return this.#places.get(session)?.has(topic) === true;
  }

  #later(place: Place): void {
    this.#leaving.push(place);
    this.#retry ??= setTimeout(() => {
      this.#retry = undefined;
      this.#send();
      this.#owner.flush();
    }, RETRY_MS);
  }

  #add(place: Place): void {
    let places = this.#places.get(place.session);
    if (places === undefined) {
      places = new Map();
      this.#places.set(place.session, places);
    }
    places.set(place.topic, place);
  }

  #drop({ session, topic }: Place): void {
    const places = this.#places.get(session);
    places?.delete(topic);
    if (places?.size === 0) this.#places.delete(session);
  }

  #erase({ session, topic }: Place): void {
    this.#owner.sql.all("DELETE FROM attendance WHERE session = ? AND topic = ?", session, topic);
  }

  #create(): void {
    if (this.#exists) return;
    this.#owner.sql.all(
      "CREATE TABLE attendance (session TEXT NOT NULL, topic TEXT NOT NULL, namespace TEXT NOT NULL, client TEXT NOT NULL, PRIMARY KEY (session, topic)) WITHOUT ROWID",
    );
    this.#exists = true;
  }
}
