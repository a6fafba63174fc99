// Breaks one promise of the broker on purpose, so that the check can show that it would see it broken. Patches prototypes: the
// sources stay as they are.
import { Backlog } from "../../../worker/gateway/backlog/backlog.ts";
import { Inbound } from "../../../worker/gateway/backlog/inbound.ts";
import { Fanout } from "../../../worker/gateway/fanout.ts";
import { Sequences } from "../../../worker/producers/sequences.ts";
import { DedupWindow } from "../../../worker/queue/dedup.ts";
import { destinationOf } from "../../../worker/queue/destination.ts";
import { EventWriter } from "../../../worker/queue/events.ts";
import { Ledger } from "../../../worker/queue/ledger.ts";
import { Outcomes } from "../../../worker/queue/outcomes.ts";
import { Queue } from "../../../worker/queue/queue.ts";
import { Turn } from "../../../worker/queue/turn.ts";
import { TopicDedup } from "../../../worker/topic/dedup.ts";
import type { FaultName } from "../fault-names.ts";

const SHORT_LEASE_MS = 300;
const SHORT_WINDOW_MS = 4_000;
const SWAP_MS = 700;

let planted = "";

/** Whether this is the fault of this run. */
export function isPlanted(fault: FaultName): boolean {
  return planted === fault;
}

/** Plants a fault; "" for none. */
export function plant(fault: string): void {
  planted = fault;
  if (fault !== "") PLANTS[fault as FaultName]?.();
}

/** Spoils what a queue has on disk, before it is read again: an object that begins. */
export function spoilBooks(sql: SqlStorage): void {
  if (isPlanted("delayed-lost") && hasTable(sql, "delayed")) sql.exec("DELETE FROM delayed");
  if (!isPlanted("confirm-before-durable")) return;
  const logs = sql
    .exec("SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB 'log_*'")
    .toArray()
    .map(({ name }) => Number(String(name).slice(4)));
  const last = Math.max(...logs);
  if (last < 0) return;
  // A turn is the row with its facts and those without facts before it. The first rows hold the queue's making.
  const kept = `SELECT turn FROM log_${last} WHERE events IS NOT NULL ORDER BY turn DESC LIMIT 1 OFFSET 1`;
  sql.exec(`DELETE FROM log_${last} WHERE turn > (${kept}) AND turn > 20`);
}

function hasTable(sql: SqlStorage, name: string): boolean {
  return sql.exec("SELECT 1 FROM sqlite_master WHERE name = ?", name).toArray().length > 0;
}

/** Facts that are read again when a queue opens are what happened: nothing fails then. */
let isOpening = false;
const sometimes = (chance: number) => !isOpening && Math.random() < chance;
const { open } = Queue;
Queue.open = (...read) => {
  isOpening = true;
  try {
    return open(...read);
  } finally {
    isOpening = false;
  }
};

/** Each replaces methods by ones that fail now and then. Faults that live in the chaos worker's own classes are not here. */
const PLANTS: Partial<Record<FaultName, () => void>> = {
  "given-back-lost"() {
    const { giveBack } = Ledger.prototype;
    Ledger.prototype.giveBack = function (entry, failed, byHandle, dueAt) {
      if (sometimes(0.2)) this.finish(entry, "expired", byHandle);
      else giveBack.call(this, entry, failed, byHandle, dueAt);
    };
  },
  "settle-not-written"() {
    EventWriter.prototype.finished = () => undefined;
  },
  "ack-ignored"() {
    const { finish } = Ledger.prototype;
    Ledger.prototype.finish = function (entry, end, byHandle) {
      if (end === "settled" && sometimes(0.02)) this.giveBack(entry, false, byHandle, 0);
      else finish.call(this, entry, end, byHandle);
    };
  },
  "dedup-forgets"() {
    const { find } = DedupWindow.prototype;
    DedupWindow.prototype.find = function (...asked) {
      return sometimes(0.5) ? undefined : find.apply(this, asked);
    };
  },
  "dedup-not-loaded"() {
    DedupWindow.prototype.load = () => undefined;
  },
  "dedup-by-clock"() {
    const { find } = DedupWindow.prototype;
    DedupWindow.prototype.find = function (messageId, now) {
      return find.call(this, messageId, now, SHORT_WINDOW_MS);
    };
  },
  "topic-dedup-forgets"() {
    TopicDedup.prototype.find = () => undefined;
  },
  "stale-handle"() {
    Outcomes.prototype.settled = () => true;
  },
  "two-leases"() {
    const { deliver } = Turn.prototype;
    Turn.prototype.deliver = function (entry, consumer, redelivered) {
      deliver.call(this, entry, consumer, redelivered);
      if (!sometimes(0.05)) return;
      const others = [...this.ledger.consumers.values()].filter(({ ref }) => ref > 0 && ref !== consumer.ref);
      if (others[0] !== undefined) deliver.call(this, entry, others[0], redelivered);
    };
  },
  "lease-cut-short"() {
    const { lease } = Ledger.prototype;
    Ledger.prototype.lease = function (entry, ref, deadline) {
      lease.call(
        this,
        entry,
        ref,
        sometimes(0.5) ? Math.min(deadline, Date.now() + SHORT_LEASE_MS) : deadline,
      );
    };
  },
  "group-ignored"() {
    const { take } = Ledger.prototype;
    Ledger.prototype.take = function (position, message) {
      const { seq, size, time, expiresAt, attempts, failures } = message;
      return take.call(this, position, { seq, size, time, expiresAt, attempts, failures, group: "" });
    };
  },
  "transfer-again"() {
    Ledger.prototype.heardFrom = () => undefined;
  },
  "topic-packet-again"() {
    Backlog.prototype.taken = () => false;
  },
  "topic-packet-swapped"() {
    const { deliver } = Fanout.prototype;
    Fanout.prototype.deliver = function (namespace, records) {
      if (!sometimes(0.1)) return deliver.call(this, namespace, records);
      setTimeout(() => deliver.call(this, namespace, records), SWAP_MS);
      return [];
    };
  },
  "qos2-id-forgotten"() {
    const { add } = Inbound.prototype;
    Inbound.prototype.has = () => false;
    Inbound.prototype.add = function (packetId) {
      add.call(this, packetId);
      return true;
    };
  },
  "commit-half"() {
    const { sendRecord } = Turn.prototype;
    const { finish } = Ledger.prototype;
    let isUnsettled = false;
    Turn.prototype.sendRecord = function (target, record) {
      const isCommit = destinationOf(target).kind === "publish";
      if (isCommit && sometimes(0.03)) return { row: 0, at: 0 };
      isUnsettled = isCommit && sometimes(0.03);
      return sendRecord.call(this, target, record);
    };
    Ledger.prototype.finish = function (entry, end, byHandle) {
      if (isUnsettled && end === "settled") this.giveBack(entry, false, byHandle, 0);
      else finish.call(this, entry, end, byHandle);
      isUnsettled = false;
    };
  },
  "commit-again"() {
    const { turn } = Queue.prototype;
    const { find } = DedupWindow.prototype;
    const made = new Set<string>();
    let again = 0;
    Queue.prototype.turn = function (commands, ...rest) {
      const spoilt = commands.map((command) => {
        if (command.type !== "commit") return command;
        const { commit } = command;
        if (!made.has(commit.key)) {
          made.add(commit.key);
          return command;
        }
        again += 1;
        const key = `${commit.key}/${again}`;
        return { ...command, commit: { ...commit, key, held: true, settlements: [], participants: [] } };
      });
      return turn.call(this, spoilt, ...rest);
    };
    // What it publishes has the ids of the first time: `…/0`, `…/1`.
    DedupWindow.prototype.find = function (messageId, ...rest) {
      return /\/\d+$/.test(messageId) ? undefined : find.call(this, messageId, ...rest);
    };
  },
  "fence-ignored"() {
    const { check, add } = Sequences.prototype;
    const isFormer = (sequences: Sequences, name: string, epoch: number) =>
      epoch < (sequences.get(name)?.epoch ?? 0);
    Sequences.prototype.check = function (name, sequence, ...rest) {
      return isFormer(this, name, sequence.epoch) ? undefined : check.call(this, name, sequence, ...rest);
    };
    Sequences.prototype.add = function (name, sequence, ...rest) {
      return isFormer(this, name, sequence.epoch) ? undefined : add.call(this, name, sequence, ...rest);
    };
  },
  "sequence-forgets"() {
    const { check, add } = Sequences.prototype;
    const isKnown = (sequences: Sequences, name: string, { epoch, seq }: { epoch: number; seq: number }) => {
      const state = sequences.get(name);
      return state?.epoch === epoch && seq <= state.last;
    };
    Sequences.prototype.check = function (name, sequence, ...rest) {
      const forgets = isKnown(this, name, sequence) && sometimes(0.5);
      return forgets ? undefined : check.call(this, name, sequence, ...rest);
    };
    Sequences.prototype.add = function (name, sequence, ...rest) {
      return isKnown(this, name, sequence) ? undefined : add.call(this, name, sequence, ...rest);
    };
  },
};
