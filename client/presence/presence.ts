// Presence for applications: being in a room, and knowing who is. Built on topics alone: a room is the topic `$presence/ROOM`.
import type { Dunlin } from "../dunlin.ts";

const PREFIX = "$presence/";

/**
 * Someone in a room.
 *
 * @example
 * const show = ({ client, data, since }: Member<{ name: string }>) => `${data.name} (${client}), here since ${new Date(since)}`;
 */
export interface Member<Data = unknown> {
  /** The id of the client. */
  client: string;
  /** What it said of itself last; null when it said nothing. */
  data: Data;
  /** When it entered, in milliseconds since 1970. */
  since: number;
}

/**
 * What changed in a room. `snapshot`: all of it is told, at the beginning and whenever something may have been missed. `count`: the
 * room is so large that only the number of its members is told.
 *
 * @example
 * const loud = ({ action }: Change) => action === "enter";
 */
export interface Change {
  action: "snapshot" | "count" | "enter" | "update" | "leave";
  /** Who it was, for the last three. */
  client?: string;
}

/**
 * Who is in a room, after a change.
 *
 * @example
 * const title = ({ count, members }: Presence) => members ? [...members.keys()].join(", ") : `${count} people`;
 */
export interface Presence<Data = unknown> {
  /** How many are there. */
  count: number;
  /** By client id; undefined while the room is so large that only the number is told. The same map each time, kept up to date. */
  members: ReadonlyMap<string, Member<Data>> | undefined;
  /** What has just happened. */
  change: Change;
}

/**
 * Being in a room.
 *
 * @example
 * const here: Attendance<{ typing: boolean }> = enterPresence(dunlin, "chat", { typing: false });
 */
export interface Attendance<Data = unknown> {
  /** Resolves once the room knows; rejects with what the broker refused it with. */
  readonly entered: Promise<void>;
  /** Says something else of oneself. */
  update(data: Data): Promise<void>;
  /** Leaves. Whoever does not leaves when the session ends: with `dunlin.close()`, or some time after the connection was lost. */
  leave(): Promise<void>;
}

/**
 * Enters a room, and enters it again when the session was lost with a connection. Whoever watches sees no difference while the session
 * lasts.
 *
 * @throws DunlinError out of `entered`, `update` and `leave`, as `topic.publish` does
 * @example
 * const here = enterPresence(dunlin, "doc/7", { name: "Ann", cursor: 0 });
 * await here.update({ name: "Ann", cursor: 12 });
 * await here.leave();
 */
export function enterPresence<Data>(dunlin: Dunlin, room: string, data: Data): Attendance<Data> {
  const topic = dunlin.topic(PREFIX + room);
  let current = data;
  let isIn = true;
  const say = async (action: string) => {
    await topic.publish(action === "leave" ? { action } : { action, data: current });
  };
  // Whether a session went on is not told; to enter where one is says nothing to anyone.
  const off = dunlin.on("state", (state) => {
    if (state === "closed") off();
    else if (state === "open" && isIn) say("enter").catch(() => {});
  });
  const entered = say("enter");
  // Who does not wait for it hears of the refusal from `update`.
  entered.catch(() => {});
  return {
    entered,
    update: (next) => {
      current = next;
      return say("update");
    },
    leave: () => {
      isIn = false;
      off();
      return say("leave");
    },
  };
}

interface Told<Data> {
  kind: "snapshot" | "change" | "count";
  count: number;
  members?: Member<Data>[];
  action?: "enter" | "update" | "leave";
  client?: string;
  data?: Data;
}

/**
 * Watches a room: who is there now, then after every change. Leaving the loop ends it.
 *
 * @throws DunlinError out of the loop, as `topic.subscribe` does
 * @example
 * for await (const { members, count } of watchPresence<{ name: string }>(dunlin, "doc/7")) {
 *   render(members ? [...members.values()].map(({ data }) => data.name) : `${count} people`);
 * }
 */
export async function* watchPresence<Data = unknown>(
  dunlin: Dunlin,
  room: string,
  options: { signal?: AbortSignal } = {},
): AsyncGenerator<Presence<Data>, void, undefined> {
  const topic = dunlin.topic<Told<Data>>(PREFIX + room);
  const members = new Map<string, Member<Data>>();
  for (let isWhole = false; !isWhole && !options.signal?.aborted; ) {
    const gap = new AbortController();
    const signal = options.signal ? AbortSignal.any([gap.signal, options.signal]) : gap.signal;
    // What was missed is in the next snapshot.
    const onGap = () => gap.abort();
    let place = { epoch: 0, seq: 0 };
    for await (const { body, epoch, seq, time } of topic.subscribe({ signal, onGap })) {
      const isNewLife = epoch > place.epoch;
      if (body.kind === "change" && seq !== (isNewLife ? 1 : place.seq + 1)) gap.abort();
      if (gap.signal.aborted) break;
      // A new epoch begins with an empty room.
      if (body.kind === "change" && isNewLife) members.clear();
      place = { epoch, seq };
      yield { ...apply(members, body, time), count: body.count };
    }
    isWhole = !gap.signal.aborted;
  }
}

/** Brings the members up to date. */
function apply<Data>(
  members: Map<string, Member<Data>>,
  told: Told<Data>,
  time: number,
): Omit<Presence<Data>, "count"> {
  const { kind, client = "", action = "enter" } = told;
  if (kind === "count") {
    members.clear();
    return { members: undefined, change: { action: "count" } };
  }
  if (kind === "snapshot") {
    members.clear();
    for (const member of told.members ?? []) members.set(member.client, member);
    return { members, change: { action: "snapshot" } };
  }
  if (action === "leave") members.delete(client);
  else {
    const since = members.get(client)?.since ?? time;
    members.set(client, { client, data: told.data as Data, since });
  }
  return { members, change: { action, client } };
}
