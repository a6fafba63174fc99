// The messages of one turn on their way to their targets: one packet for each, and one row for what must surely arrive.
import { Writer } from "../bytes/writer.ts";
import { MAX_ROW_BYTES } from "../limits.ts";
import { TopicPacketWriter } from "../link/topic-packet.ts";
import type { RecordView } from "../message/record.ts";
import type { Target } from "./interest.ts";
import type { Outbox, Share } from "./outbox.ts";

/** What one target gets at once. */
export interface Parcel {
  target: string;
  /** The id under which the outbox keeps it, 0 when it does not. */
  id: number;
  packet: TopicPacketWriter;
}

/** As much as one row holds. */
class Chunk {
  readonly packets = new Map<string, TopicPacketWriter>();
  readonly shares = new Map<string, number[]>();
  readonly kept = new Writer(1024);
  keptCount = 0;
  bytes = 0;
  ids = false;
}

/** Collects what a turn sends. */
export class Fan {
  readonly #full: Chunk[] = [];
  #chunk = new Chunk();

  /** Whether something must be stored before it is sent. */
  get dirty(): boolean {
    return this.#chunk.keptCount > 0 || this.#full.some(({ keptCount }) => keptCount > 0);
  }

  /** Sends a message to its targets. [MQTT-4.5.0-1] */
  add(view: RecordView, targets: readonly Target[]): void {
    const { record, qos } = view;
    if (this.#chunk.bytes > 0 && this.#chunk.bytes + record.length > MAX_ROW_BYTES) {
      this.#full.push(this.#chunk);
      this.#chunk = new Chunk();
    }
    const chunk = this.#chunk;
    let kept = false;
    for (const { name, queue, durable } of targets) {
      let packet = chunk.packets.get(name);
      if (packet === undefined) {
        packet = new TopicPacketWriter(record.length);
        chunk.packets.set(name, packet);
      }
      packet.add(record);
      if (!durable || (qos === 0 && !queue)) continue;
      kept = true;
      const share = chunk.shares.get(name);
      if (share === undefined) chunk.shares.set(name, [chunk.keptCount]);
      else share.push(chunk.keptCount);
    }
    chunk.bytes += record.length;
    if (!kept) return;
    chunk.kept.raw(record);
    chunk.keptCount++;
    chunk.ids ||= view.publisherId;
  }

  /** Stores what must be, and hands out what is to be sent, in order. */
  finish(outbox: Outbox, now: number): Parcel[] {
    const parcels: Parcel[] = [];
    for (const chunk of [...this.#full, this.#chunk]) {
      const { packets, shares, kept, keptCount, ids } = chunk;
      const all = new Map<string, Share>();
      for (const [target, share] of shares) all.set(target, share.length === keptCount ? true : share);
      const id = keptCount > 0 ? outbox.add(kept.take(), all, now, ids) : 0;
      for (const [target, packet] of packets) {
        parcels.push({ target, id: shares.has(target) ? id : 0, packet });
      }
    }
    return parcels;
  }
}
