// A Backlog on a database in memory, with short words for what a gateway does to it.
import { Writer } from "../../../worker/bytes/writer.ts";
import { Backlog, type BacklogSizes } from "../../../worker/gateway/backlog/backlog.ts";
import type { Outgoing } from "../../../worker/gateway/backlog/outgoing.ts";
import type { ToSend } from "../../../worker/gateway/backlog/owed.ts";
import { writeMessage } from "../../../worker/message/record.ts";
import { message } from "../../support/message.ts";
import { NodeSql } from "../../support/node-sql.ts";

/** A record with a text as its body. */
export function record(body: string, expiresAt = 0): Uint8Array {
  const writer = new Writer();
  writeMessage(writer, message({ body, expiresAt }));
  return writer.take();
}

/** One gateway's backlog. Every call that ends in a turn commits it. */
export class Bench {
  readonly sql = new NodeSql();
  readonly sizes: Partial<BacklogSizes>;
  backlog: Backlog;
  now = 1_000;
  #transfers = 0;

  constructor(sizes: Partial<BacklogSizes> = {}) {
    this.sizes = sizes;
    this.backlog = Backlog.open(this.sql, this.now, sizes);
  }

  /** A durable session. */
  session(id: string, window = 0): Outgoing {
    const outgoing = this.backlog.outgoing(id, true);
    outgoing.setWindow(window);
    return outgoing;
  }

  /** Offers one message to some sessions, without ending the turn; the packet ids it is sent with. */
  offer(body: string, to: Outgoing[], qos: 1 | 2 = 1, expiresAt = 0): (number | undefined)[] {
    this.backlog.take("source", ++this.#transfers);
    const position = this.backlog.keep(record(body, expiresAt));
    if (typeof position !== "number") throw new Error(position.message);
    return to.map((outgoing) => outgoing.offer({ position, qos, retain: false, subscriptionIds: [] }));
  }

  /** As `offer`, as a turn of its own. */
  publish(body: string, to: Outgoing[], qos: 1 | 2 = 1, expiresAt = 0): (number | undefined)[] {
    const ids = this.offer(body, to, qos, expiresAt);
    this.commit();
    return ids;
  }

  /** Ends a turn; the rows it wrote. */
  commit(): number {
    const before = this.sql.rowsWritten;
    this.sql.transaction(() => this.backlog.commit());
    return this.sql.rowsWritten - before;
  }

  flush(): number {
    const before = this.sql.rowsWritten;
    this.sql.transaction(() => this.backlog.flushLazy());
    return this.sql.rowsWritten - before;
  }

  /** The object is gone with everything it had not written. */
  crash(): void {
    this.backlog = Backlog.open(this.sql, this.now, this.sizes);
  }

  /** Sends all that the window admits. */
  drain(outgoing: Outgoing): ToSend[] {
    const sent: ToSend[] = [];
    for (let next = outgoing.next(this.now); next !== undefined; next = outgoing.next(this.now))
      sent.push(next);
    return sent;
  }

  body(position: number): string {
    return String(this.backlog.record(position)!.decode().body);
  }

  /** Bodies of what the window admits. */
  bodies(outgoing: Outgoing): string[] {
    return this.drain(outgoing).map(({ position }) => this.body(position));
  }

  segments(): number {
    return this.sql.all("SELECT 1 FROM sqlite_master WHERE name GLOB 'backlog_[0-9]*'").length;
  }
}
