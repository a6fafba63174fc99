// The JSON framing, second half: what each request does to queues and subscriptions, and how its answer reads.
import { type Address, parseAddress, queueObjectName } from "../../address.ts";
import { permits } from "../../auth/permission.ts";
import type { Action, Principal } from "../../auth/principal.ts";
import { type Env, maxMessageBytes } from "../../env.ts";
import { isRefusal, type Refusal, refuse } from "../../errors.ts";
import type { Broker } from "../../gateway/broker.ts";
import type { Connection } from "../../gateway/connection.ts";
import type { CommandDone } from "../../gateway/queue-link.ts";
import type { Session, Subscription } from "../../gateway/session.ts";
import { MAX_BATCH } from "../../limits.ts";
import type { Outcome, Settlement } from "../../link/commands.ts";
import { parseHandle } from "../../link/handle.ts";
import { toMessage } from "../../message/fields.ts";
import {
  type ByeFrame,
  type CreditFrame,
  type ExtendFrame,
  type PublishFrame,
  type SettleFrame,
  SUBSCRIBE_CREDIT,
  type SubscribeFrame,
  type UnsubscribeFrame,
} from "./frames.ts";
import { errorFrame, okFrame, publishedFrame } from "./render.ts";

/** A random number that fits a double exactly: refs of subscriptions. */
const REF_RANGE = 2 ** 48;

/** Carries out the requests of connections that have said hello. */
export class Requests {
  readonly #broker: Broker;
  readonly #maxMessageBytes: number;

  constructor(broker: Broker) {
    this.#broker = broker;
    this.#maxMessageBytes = maxMessageBytes(broker.env as Env);
  }

  /** Runs a frame that passed the check of its fields. */
  run(connection: Connection, op: string, frame: object): void {
    const session = connection.session!;
    switch (op) {
      case "publish":
        return this.#publish(connection, session, frame as PublishFrame);
      case "settle":
        return this.#settle(connection, session, frame as SettleFrame);
      case "extend":
        return this.#extend(connection, session, frame as ExtendFrame);
      case "subscribe":
        return this.#subscribe(connection, session, frame as SubscribeFrame);
      case "credit":
        return this.#credit(connection, session, frame as CreditFrame);
      case "unsubscribe":
        return this.#unsubscribe(connection, session, frame as UnsubscribeFrame);
      case "bye":
        return this.#bye(connection, frame as ByeFrame);
    }
  }

  #publish(connection: Connection, session: Session, frame: PublishFrame): void {
    const { id, to } = frame;
    const address = queueAddress(to, session.principal, "publish");
    if (isRefusal(address)) return connection.write(errorFrame(id, address));
    const message = toMessage(frame, Date.now(), this.#maxMessageBytes);
    if (isRefusal(message)) return connection.write(errorFrame(id, message));
    connection.waiting++;
    const { messageId } = message;
    this.#broker.links
      .to(queueObjectName(session.namespace, address.name))
      .publish(message, (outcome, epoch) => {
        connection.waiting--;
        if (isRefusal(outcome)) connection.write(errorFrame(id, outcome));
        else if (id !== undefined) connection.write(publishedFrame(id, messageId, outcome, epoch));
      });
  }

  #settle(connection: Connection, session: Session, frame: SettleFrame): void {
    const { id, ack = [], release = [], fail = [], dead = [] } = frame;
    const subscription = this.#subscription(connection, session, frame);
    if (subscription === undefined) return;
    const settlements: Settlement[] = [];
    const deliveries: string[] = [];
    const add = (delivery: string, outcome: Outcome, reason = "", delayMs?: number) => {
      deliveries.push(delivery);
      settlements.push({ ...parseHandle(delivery), outcome, delayMs, reason });
    };
    for (const delivery of ack) add(delivery, "ack");
    for (const delivery of release) add(delivery, "release");
    for (const { delivery, reason, delayMs } of fail) add(delivery, "fail", reason, delayMs);
    for (const { delivery, reason } of dead) add(delivery, "dead", reason);
    if (deliveries.length > MAX_BATCH) {
      const text = `a settle has at most ${MAX_BATCH} deliveries, got ${deliveries.length}`;
      return connection.write(errorFrame(id, refuse("batch-too-large", text)));
    }
    this.#command(subscription, connection, { type: "settle", settlements }, id, (settled) => {
      const lost = deliveries.filter((_, index) => !settled[index]);
      return { settled: deliveries.length - lost.length, lost };
    });
  }

  #extend(connection: Connection, session: Session, frame: ExtendFrame): void {
    const { id, deliveries, leaseMs } = frame;
    const subscription = this.#subscription(connection, session, frame);
    if (subscription === undefined) return;
    const command = { type: "extend", handles: deliveries.map(parseHandle), leaseMs } as const;
    this.#command(subscription, connection, command, id, (extended) => {
      const lost = deliveries.filter((_, index) => !extended[index]);
      return { extended: deliveries.length - lost.length, lost };
    });
  }

  #subscribe(connection: Connection, session: Session, frame: SubscribeFrame): void {
    const { id, sub, to, credit = SUBSCRIBE_CREDIT, leaseMs, filter } = frame;
    if (filter !== undefined) {
      return connection.write(
        errorFrame(id, refuse("not-supported", "filters of queue subscriptions are not served")),
      );
    }
    const address = queueAddress(to, session.principal, "consume");
    if (isRefusal(address)) return connection.write(errorFrame(id, address));
    const ref = 1 + Math.floor(Math.random() * REF_RANGE);
    const done: CommandDone = (result, epoch) => {
      connection.waiting--;
      if (result.type === "refused") connection.write(errorFrame(id, result.refusal));
      // A queue keeps what was not settled: nothing can be missing.
      else if (result.type === "done")
        connection.write(okFrame(id, { sub, epoch, seq: result.seq, recovered: true }));
    };
    connection.waiting++;
    const refusal = this.#broker.sessions.subscribe(session, { sub, address, credit, leaseMs, ref }, done);
    if (refusal === undefined) return;
    connection.waiting--;
    connection.write(errorFrame(id, refusal));
  }

  #credit(connection: Connection, session: Session, frame: CreditFrame): void {
    const { id, add } = frame;
    const subscription = this.#subscription(connection, session, frame);
    if (subscription === undefined) return;
    connection.waiting++;
    this.#broker.sessions.addCredit(
      subscription,
      add,
      answer(connection, id, { credit: subscription.credit + add }),
    );
  }

  #unsubscribe(connection: Connection, session: Session, frame: UnsubscribeFrame): void {
    const subscription = this.#subscription(connection, session, frame);
    if (subscription === undefined) return;
    connection.waiting++;
    this.#broker.sessions.unsubscribe(subscription, answer(connection, frame.id, { sub: frame.sub }));
  }

  #bye(connection: Connection, { id }: ByeFrame): void {
    if (id !== undefined) connection.write(okFrame(id, {}));
    this.#broker.sessions.lost(connection, Date.now());
    connection.close(1000, "bye");
  }

  #subscription(
    connection: Connection,
    session: Session,
    frame: { id?: number; sub: number },
  ): Subscription | undefined {
    const subscription = session.subscriptions.get(frame.sub);
    if (subscription === undefined) {
      connection.write(
        errorFrame(frame.id, refuse("no-subscription", `there is no subscription ${frame.sub}`)),
      );
    }
    return subscription;
  }

  #command(
    subscription: Subscription,
    connection: Connection,
    command:
      | { type: "settle"; settlements: Settlement[] }
      | { type: "extend"; handles: Settlement[] | ReturnType<typeof parseHandle>[]; leaseMs: number },
    id: number | undefined,
    fields: (settled: boolean[]) => Record<string, unknown>,
  ): void {
    connection.waiting++;
    this.#broker.links.to(subscription.target).command(command, (result) => {
      connection.waiting--;
      if (result.type === "refused") connection.write(errorFrame(id, result.refusal));
      else if (id !== undefined && result.type === "settled")
        connection.write(okFrame(id, fields(result.settled)));
    });
  }
}

function answer(
  connection: Connection,
  id: number | undefined,
  fields: Record<string, unknown>,
): CommandDone {
  return (result) => {
    connection.waiting--;
    if (result.type === "refused") connection.write(errorFrame(id, result.refusal));
    else if (id !== undefined) connection.write(okFrame(id, fields));
  };
}

/** The queue that a frame names, if there can be one and the client may do this to it. */
function queueAddress(to: string, principal: Principal, action: Action): Address | Refusal {
  const address = parseAddress(to);
  if (isRefusal(address)) return address;
  if (address.kind === "topic") return refuse("not-supported", "topics are not served");
  return permits(principal, action, to) ?? address;
}
