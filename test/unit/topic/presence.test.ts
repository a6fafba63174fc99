// The rooms of a topic object: what enters and leaves, what watchers are told, and what is stored for it.
import { describe, expect, it } from "vitest";
import { isRefusal } from "../../../worker/errors.ts";
import { MAX_PRESENCE_DATA_BYTES, MAX_PRESENCE_ROOM_BYTES } from "../../../worker/limits.ts";
import { PresenceMachine } from "../../support/presence.ts";
import { bodiesOf } from "../../support/topics.ts";

describe("a room", () => {
  it("[PRS1] tells who enters, what changes, and who leaves, with the count", () => {
    const rooms = new PresenceMachine();
    rooms.watch("hall");
    rooms.enter("hall", "ann", { name: "Ann" });
    rooms.enter("hall", "bob");
    rooms.act("hall", "ann", "update", { name: "Anna" });
    rooms.leave("hall", "bob");
    expect(rooms.heard()).toEqual([
      { seq: 1, kind: "change", action: "enter", client: "ann", data: { name: "Ann" }, count: 1 },
      { seq: 2, kind: "change", action: "enter", client: "bob", data: null, count: 2 },
      { seq: 3, kind: "change", action: "update", client: "ann", data: { name: "Anna" }, count: 2 },
      { seq: 4, kind: "change", action: "leave", client: "bob", count: 1 },
    ]);
  });

  it("[PRS2] tells nothing of what changes nothing: the same data again, a leave of who is not there", () => {
    const rooms = new PresenceMachine();
    rooms.watch("hall");
    rooms.enter("hall", "ann", 1);
    rooms.enter("hall", "ann", 1);
    rooms.leave("hall", "bob");
    expect(rooms.heard()).toHaveLength(1);
    expect(rooms.enter("hall", "ann", 1)).toMatchObject({ seq: 1, duplicate: false });
  });

  it("[PRS3] a snapshot stands where the last change does: what comes later follows it without a gap", () => {
    const rooms = new PresenceMachine();
    rooms.enter("hall", "ann", 1);
    rooms.enter("hall", "bob", 2);
    const { topics, packet } = rooms.watch("hall");
    expect(topics).toMatchObject([{ seq: 2, recovered: true }]);
    expect(rooms.snapshotIn(packet)).toMatchObject({
      seq: 2,
      kind: "snapshot",
      count: 2,
      members: [
        { client: "ann", data: 1, since: 1_000_000 },
        { client: "bob", data: 2, since: 1_000_000 },
      ],
    });
    rooms.leave("hall", "ann");
    expect(rooms.heard()).toMatchObject([{ seq: 3, action: "leave" }]);
  });

  it("[PRS3] who watches an empty room is told that it is", () => {
    const rooms = new PresenceMachine();
    const { packet } = rooms.watch("hall");
    expect(rooms.snapshotIn(packet)).toMatchObject({ kind: "snapshot", count: 0, members: [] });
  });

  it("[PRS3] a filter gets the snapshots of the rooms that are not empty", () => {
    const rooms = new PresenceMachine();
    rooms.enter("a", "ann");
    rooms.enter("b", "bob");
    rooms.enter("c", "cleo");
    rooms.leave("c", "cleo");
    const request = { target: "gateway-0", filter: "$presence/+", durable: false };
    const answer = rooms.call(() =>
      rooms.topics.subscribe(
        {
          ...request,
          read: { filter: request.filter, from: "new", retained: "send", limitBytes: 1_000_000 },
        },
        0,
        rooms.now,
      ),
    );
    if (isRefusal(answer)) throw new Error(answer.message);
    expect(bodiesOf(answer).map((body) => JSON.parse(body).members[0].client)).toEqual(["ann", "bob"]);
  });

  it("[PRS4] an eviction between any two steps changes neither members nor places", () => {
    const rooms = new PresenceMachine();
    rooms.watch("hall");
    rooms.enter("hall", "ann", 1);
    const before = rooms.snapshot("hall");
    rooms.reopen();
    expect(rooms.snapshot("hall")).toEqual(before);
    rooms.enter("hall", "bob", 2);
    expect(rooms.heard()).toMatchObject([{ seq: 1 }, { seq: 2, action: "enter", client: "bob", count: 2 }]);
    expect(rooms.snapshot("hall").epoch).toBe(before.epoch);
  });

  it("[PRS4] an epoch begins with an empty room", () => {
    const rooms = new PresenceMachine();
    rooms.enter("hall", "ann", 1);
    const { epoch } = rooms.snapshot("hall");
    rooms.leave("hall", "ann");
    rooms.now += 10;
    rooms.reopen();
    expect(rooms.snapshot("hall")).toMatchObject({ count: 0, seq: 0 });
    expect(rooms.snapshot("hall").epoch).toBeGreaterThan(epoch);
    expect(rooms.sql.all("SELECT * FROM room").concat(rooms.sql.all("SELECT * FROM member"))).toEqual([]);
  });

  it("[PRS5] who goes on from the last change gets nothing again, from any other place the snapshot", () => {
    const rooms = new PresenceMachine();
    rooms.enter("hall", "ann", 1);
    const { epoch } = rooms.snapshot("hall");
    rooms.enter("hall", "bob", 1);
    const here = rooms.read("hall", { epoch, seq: 2 });
    expect([here.retained, here.topics[0]!.recovered]).toEqual([0, true]);
    for (const from of [{ epoch, seq: 1 }, { epoch: epoch - 1, seq: 2 }, "first", "last"] as const) {
      const there = rooms.read("hall", from);
      expect([there.retained, there.topics[0]!.recovered]).toEqual([1, true]);
      expect(rooms.snapshotIn(there.packet)).toMatchObject({ count: 2, seq: 2 });
    }
  });

  it("[PRS6] above the limit only the count is told, at most once a second, and below it the members again", () => {
    const rooms = new PresenceMachine(2);
    rooms.watch("hall");
    for (const client of ["ann", "bob", "cleo", "dave"]) rooms.enter("hall", client);
    rooms.act("hall", "ann", "update", 7);
    expect(rooms.heard().map(({ kind, count }) => [kind, count])).toEqual([
      ["change", 1],
      ["change", 2],
      ["count", 3],
    ]);
    expect(rooms.snapshot("hall")).toMatchObject({ kind: "count", count: 4 });
    rooms.pass(999);
    expect(rooms.heard()).toEqual([]);
    rooms.pass(1);
    expect(rooms.heard()).toMatchObject([{ kind: "count", count: 4, seq: 4 }]);
    rooms.leave("hall", "cleo");
    rooms.reopen();
    rooms.leave("hall", "dave");
    rooms.pass(1_000);
    const told = rooms.heard();
    expect(told.at(-1)).toMatchObject({
      kind: "snapshot",
      count: 2,
      members: [{ client: "ann", data: 7 }, {}],
    });
    rooms.leave("hall", "bob");
    expect(rooms.heard()).toMatchObject([{ kind: "change", action: "leave", seq: told.at(-1)!.seq + 1 }]);
  });

  it("[PRS7] data beyond the limit is refused, and a room of too many bytes tells only its count", () => {
    const rooms = new PresenceMachine();
    const fitting = "x".repeat(MAX_PRESENCE_DATA_BYTES - 2);
    expect(rooms.enter("hall", "ann", `${fitting}y`)).toMatchObject({ kind: "message-too-large" });
    const many = Math.ceil(MAX_PRESENCE_ROOM_BYTES / MAX_PRESENCE_DATA_BYTES);
    for (let i = 0; i <= many; i++) rooms.enter("hall", `c${i}`, fitting);
    expect(rooms.snapshot("hall")).toMatchObject({ kind: "count", count: many + 1 });
  });

  it("[PRS8] a member without a session leaves after its time to live, unless it enters again", () => {
    const rooms = new PresenceMachine();
    rooms.watch("hall");
    rooms.enter("hall", "web", 1, { session: "", ttlMs: 1_000 });
    rooms.pass(600);
    rooms.enter("hall", "web", 1, { session: "", ttlMs: 1_000 });
    rooms.pass(600);
    expect(rooms.heard()).toMatchObject([{ action: "enter" }]);
    rooms.reopen();
    rooms.pass(400);
    expect(rooms.heard()).toMatchObject([{ action: "leave", client: "web", count: 0 }]);
  });

  it("[PRS9] the leave of a session that has ended does not take away who is there by the next one", () => {
    const rooms = new PresenceMachine();
    rooms.watch("hall");
    rooms.enter("hall", "ann", 1, { session: "first" });
    rooms.enter("hall", "ann", 1, { session: "second" });
    rooms.act("hall", "ann", "leave", null, { session: "first" });
    expect(rooms.snapshot("hall")).toMatchObject({ count: 1 });
    rooms.reopen();
    rooms.act("hall", "ann", "leave", null, { session: "first" });
    expect(rooms.snapshot("hall")).toMatchObject({ count: 1 });
    rooms.act("hall", "ann", "leave", null, { session: "second" });
    expect(rooms.heard()).toMatchObject([{ action: "enter" }, { action: "leave" }]);
  });

  it("[PRS10] nobody without a session speaks for a member that is there by one", () => {
    const rooms = new PresenceMachine();
    rooms.enter("hall", "ann", 1, { session: "s" });
    const outside = { session: "", ttlMs: 1_000 };
    for (const action of ["enter", "update", "leave"] as const) {
      expect(rooms.act("hall", "ann", action, 2, outside)).toMatchObject({ kind: "conflict" });
    }
    rooms.enter("hall", "web", 1, outside);
    expect(rooms.enter("hall", "web", 1, { session: "s2" })).toMatchObject({ duplicate: false });
    rooms.pass(2_000);
    expect(rooms.snapshot("hall")).toMatchObject({ count: 2 });
  });

  it("[PRS11] costs a row for the member and one for its room", () => {
    const rooms = new PresenceMachine();
    rooms.watch("hall");
    rooms.enter("hall", "ann");
    const { rowsWritten } = rooms.sql;
    rooms.enter("hall", "bob");
    expect(rooms.sql.rowsWritten - rowsWritten).toBe(2);
    rooms.leave("hall", "bob");
    expect(rooms.sql.rowsWritten - rowsWritten).toBe(4);
    rooms.leave("hall", "bob");
    expect(rooms.sql.rowsWritten - rowsWritten).toBe(4);
  });
});
