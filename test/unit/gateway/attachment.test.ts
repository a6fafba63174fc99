// What a socket carries through its gateway's sleep.
import { describe, expect, it } from "vitest";
import { type Attached, AttachmentStore, attachedSession } from "../../../worker/gateway/attachment.ts";
import type { Session } from "../../../worker/gateway/session.ts";
import { NodeSql } from "../../support/node-sql.ts";

function attached(id: string, state: unknown): Attached {
  return { version: 1, id, protocol: "mqtt", urlNamespace: "", principal: null, session: null, state };
}

function rows(sql: NodeSql): number {
  return sql.all("SELECT 1 FROM sqlite_master WHERE name = 'attachment'").length === 0
    ? 0
    : sql.all("SELECT 1 FROM attachment").length;
}

describe("what a socket carries", () => {
  it("[MQV10] comes back as it was; what fits writes no row", () => {
    const sql = new NodeSql();
    const small = attached("a", { rest: "x".repeat(5_000) });
    const store = new AttachmentStore(sql);
    expect(store.read(structuredClone(store.toCarry(small)))).toEqual(small);
    expect(store.read(structuredClone(store.toCarry(attached("b", undefined))))).toEqual(
      attached("b", undefined),
    );
    expect(sql.rowsWritten).toBe(0);
  });

  it("[MQV10] is in a row when it is too large, also for another life of the gateway, until it fits again", () => {
    const sql = new NodeSql();
    const large = attached("a", { rest: "x".repeat(400_000) });
    const carried = structuredClone(new AttachmentStore(sql).toCarry(large));
    expect(JSON.stringify(carried).length).toBeLessThan(1_000);
    const later = new AttachmentStore(sql);
    expect(later.read(carried)).toMatchObject({ ...large });
    expect(later.toCarry(attached("a", {}))).toEqual(attached("a", {}));
    expect(rows(sql)).toBe(0);
  });

  it("[MQV10] text of two bytes a character fits the platform's 16,384 bytes", () => {
    const store = new AttachmentStore(new NodeSql());
    for (const length of [6_000, 6_900, 7_000, 8_000]) {
      const carried = store.toCarry(attached("a", { rest: "ü".repeat(length) }));
      expect(Buffer.byteLength(JSON.stringify(carried), "utf16le")).toBeLessThan(16_384);
    }
  });

  it("[MQV10] rows of sockets that are gone go as well", () => {
    const sql = new NodeSql();
    const before = new AttachmentStore(sql);
    for (const id of ["a", "b", "c"]) before.toCarry(attached(id, "x".repeat(9_000)));
    before.forget("a");
    before.forget("a");
    expect(rows(sql)).toBe(2);
    const store = new AttachmentStore(sql);
    store.keepOnly(new Set(["b", "d"]));
    expect(sql.all("SELECT id FROM attachment")).toEqual([{ id: "b" }]);
  });

  it("[MQV10] is nothing when it is not ours, and a lost row leaves no state", () => {
    const sql = new NodeSql();
    const store = new AttachmentStore(sql);
    for (const value of [null, undefined, { version: 2 }]) expect(store.read(value)).toBeUndefined();
    const carried = store.toCarry(attached("a", "x".repeat(9_000)));
    store.forget("a");
    expect(store.read(carried)).toMatchObject({ id: "a", state: undefined });
  });

  it("[MQV3] a session that never ends is one in JSON too", () => {
    const session = {
      id: "i",
      namespace: "n",
      client: "c",
      principal: {},
      expirySeconds: Number.POSITIVE_INFINITY,
    };
    expect(attachedSession(session as unknown as Session)).toMatchObject({ id: "i", expirySeconds: null });
  });
});
