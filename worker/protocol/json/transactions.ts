// The JSON framing's part in what takes effect as a whole or not at all: commits, prepared messages and the decisions over them.
import { type Address, parseAddress, queueObjectName } from "../../address.ts";
import { permits } from "../../auth/permission.ts";
import { Writer } from "../../bytes/writer.ts";
import { type CommitPort, coordinate } from "../../commit/coordinate.ts";
import { makePlan, type Plan, type PublishWish, type SettleWish } from "../../commit/plan.ts";
import { maxMessageBytes } from "../../env.ts";
import { isRefusal, type Refusal, refuse } from "../../errors.ts";
import type { Broker } from "../../gateway/broker.ts";
import type { Session } from "../../gateway/session.ts";
import { COMMIT_WAIT_MS } from "../../limits.ts";
import { preparationOf } from "../../link/preparation.ts";
import { type Message, writeMessage } from "../../message/record.ts";
import type { Answer } from "./answers.ts";
import type { CommitFrame, DecideFrame, PublishFrame } from "./frames.ts";
import { errorFrame, okFrame, publishedFrame } from "./render.ts";

/** Carries such requests out. */
export class Transactions {
  readonly #broker: Broker;

  constructor(broker: Broker) {
    this.#broker = broker;
  }

  /** The first command to a queue joins the packet of this event: what the socket asks for before and after keeps its place. */
  commit(session: Session, frame: CommitFrame, answer: Answer): void {
    const { id } = frame;
    const plan = this.#plan(session, frame);
    if (isRefusal(plan)) return answer(errorFrame(id, plan));
    this.#broker.traffic(session.namespace).messagesReceived += plan.messageIds.length;
    coordinate(plan, this.#port(session.namespace))
      .catch((error: unknown) => {
        console.error("a commit failed:", error);
        return refuse("internal", "the commit failed; repeat it");
      })
      .then((done) => answer(isRefusal(done) ? errorFrame(id, done) : okFrame(id, { published: done })))
      .finally(() => this.#broker.flush());
  }

  prepare(session: Session, address: Address, message: Message, frame: PublishFrame, answer: Answer): void {
    const { id } = frame;
    if (address.kind === "topic") {
      return answer(errorFrame(id, refuse("not-supported", "only a queue takes prepared messages")));
    }
    const given = preparationOf(frame)!;
    const preparation = isRefusal(given)
      ? given
      : (permits(session.principal, "publish", `queue:${given.checkTo}`) ?? given);
    if (isRefusal(preparation)) return answer(errorFrame(id, preparation));
    const record = new Writer(256);
    writeMessage(record, { ...message, publisherId: true });
    const command = { type: "prepare", record: record.take(), preparation } as const;
    const { messageId } = message;
    this.#broker.links.queue(queueObjectName(session.namespace, address.name)).command(command, (result) => {
      const [outcome] = result.type === "published" ? result.messages : [];
      if (outcome === undefined || isRefusal(outcome)) {
        const refusal = result.type === "refused" ? result.refusal : outcome;
        return answer(errorFrame(id, refusal ?? refuse("internal", "answered out of order")));
      }
      answer(id === undefined ? undefined : publishedFrame(id, messageId, outcome));
    });
  }

  decide(session: Session, frame: DecideFrame, answer: Answer): void {
    const { id, to, messageId, outcome } = frame;
    const address = parseAddress(to);
    const refusal = isRefusal(address) ? address : permits(session.principal, "publish", to);
    if (refusal !== undefined || isRefusal(address)) return answer(errorFrame(id, refusal!));
    if (address.kind === "topic") {
      return answer(errorFrame(id, refuse("not-supported", "only a queue takes prepared messages")));
    }
    const command = { type: "decide", messageId, commit: outcome === "commit" } as const;
    this.#broker.links.queue(queueObjectName(session.namespace, address.name)).command(command, (result) => {
      if (result.type === "refused") return answer(errorFrame(id, result.refusal));
      const [published] = result.type === "published" ? result.messages : [];
      if (published === undefined || isRefusal(published)) return answer(okFrame(id, { messageId, outcome }));
      answer(publishedFrame(id, messageId, published));
    });
  }

  #plan(session: Session, { settle = [], publish = [] }: CommitFrame): Plan | Refusal {
    const settles: SettleWish[] = [];
    for (const { sub, ...lists } of settle) {
      const subscription = session.subscriptions.get(sub);
      if (subscription === undefined) return refuse("no-subscription", `there is no subscription ${sub}`);
      if (subscription.kind === "topic") {
        return refuse("bad-state", `subscription ${sub} is to topics: there is nothing to settle`);
      }
      settles.push({ queue: subscription.address.name, lists });
    }
    const publishes: PublishWish[] = [];
    for (const { to, ...fields } of publish) {
      const address = parseAddress(to);
      if (isRefusal(address)) return address;
      const { receiptTo = to } = fields;
      const refusal =
        permits(session.principal, "publish", to) ?? permits(session.principal, "publish", receiptTo);
      if (refusal !== undefined) return refusal;
      publishes.push({ address, fields });
    }
    const maxBytes = maxMessageBytes(this.#broker.env);
    return makePlan(settles, publishes, {
      client: session.client,
      now: Date.now(),
      maxMessageBytes: maxBytes,
    });
  }

  #port(namespace: string): CommitPort {
    const { links, env } = this.#broker;
    return {
      apply: (queue, command) =>
        new Promise((resolve) => {
          links.queue(queueObjectName(namespace, queue)).command(command, resolve);
          // Later steps run outside of any event, so nothing else sends them.
          queueMicrotask(() => this.#broker.flush());
        }),
      arrivals: (queue, rows) =>
        env.QUEUE.getByName(queueObjectName(namespace, queue))
          .arrivals(rows, COMMIT_WAIT_MS)
          .catch(() => rows.map(() => null)),
    };
  }
}
