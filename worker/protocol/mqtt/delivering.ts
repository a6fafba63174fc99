// What clients get: live messages of topics, retained ones, messages of queues; and what their acknowledgements do.
import { groupOf } from "../../address.ts";
import type { ToSend } from "../../gateway/backlog/owed.ts";
import type { Broker } from "../../gateway/broker.ts";
import type { Match, TopicRun } from "../../gateway/fanout.ts";
import type { QueueSubscription, Session, Subscription, TopicSubscription } from "../../gateway/session.ts";
import type { DeliveryView } from "../../link/deliveries.ts";
import type { Outcome } from "../../link/settlement.ts";
import { RecordView } from "../../message/record.ts";
import type { Client, Held } from "./client.ts";
import { CLOSE } from "./close.ts";
import { answer } from "./codec/answers.ts";
import type { PublishAnswer } from "./codec/packets.ts";
import { withPacketId } from "./codec/publish-template.ts";
import { ReasonCode } from "./codec/reason.ts";
import { QUEUE_PREFIX } from "./messages.ts";
import { type Form, formOf, type Made, made, RunTemplates, withAlias } from "./templates.ts";

/** What a topic alias adds to a packet at most: the property, and a byte each for the two lengths around it. */
const ALIAS_BYTES = 5;

/** What one session gets of a topic's messages, made once for as long as its subscriptions stay. */
interface Plan {
  qos: 0 | 1 | 2;
  form: Form;
  /** Whether one of the subscriptions leaves out what the client itself published. */
  noLocal: boolean;
}

/** Hands messages to clients. */
export class Delivering {
  readonly #broker: Broker;
  readonly #clientOf: (session: Session) => Client | undefined;
  readonly #plans = new WeakMap<Match, Plan>();

  constructor(broker: Broker, clientOf: (session: Session) => Client | undefined) {
    this.#broker = broker;
    this.#clientOf = clientOf;
  }

  /** Live messages: encoded once for all sessions that get them in the same form. */
  fanout(run: TopicRun, now: number): void {
    const templates = new RunTemplates(run, now);
    for (const match of run.matches) {
      try {
        this.#fanOutTo(match, run, templates, now);
      } catch (error) {
        // A bug that one session meets must not keep the message from the others: it would not come again.
        console.error("a message could not be handed to a session:", error);
        match.session.connection?.close(CLOSE.brokerFailed, "the broker failed on a message");
      }
    }
  }

  #fanOutTo(match: Match, run: TopicRun, templates: RunTemplates, now: number): void {
    const { session } = match;
    const client = this.#clientOf(session);
    let plan = this.#plans.get(match);
    // A session that comes back may speak another version.
    if (plan === undefined || (client !== undefined && client.version !== plan.form.version)) {
      plan = planOf(match, client?.version ?? 5);
      this.#plans.set(match, plan);
    }
    if (plan.noLocal) {
      this.#withoutOwn(run, match, now);
    } else if (client !== undefined && (plan.qos === 0 || templates.maxQos === 0)) {
      this.#sendRun(client, templates, plan);
    } else if (plan.qos > 0 && templates.maxQos > 0) {
      this.#owe(session, client, templates, plan);
    }
  }

  /** Retained messages for a new subscription, after its SUBACK: what is live follows them. */
  async replay(
    subscription: TopicSubscription,
    records: Uint8Array,
    retained: number,
    now: number,
  ): Promise<void> {
    const client = this.#clientOf(subscription.session);
    if (client !== undefined && client.subscribing > 0) {
      await new Promise<void>((resolve) => client.afterSuback.push(resolve));
    }
    this.#sendRetained(subscription, records, retained, now);
  }

  /** Flagged as such [MQTT-3.3.1-8]. */
  #sendRetained(subscription: TopicSubscription, records: Uint8Array, retained: number, now: number): void {
    const { session, options } = subscription;
    if (session.subscriptions.get(subscription.sub) !== subscription) return;
    const client = this.#clientOf(session);
    let left = retained;
    for (const view = new RecordView(records); view.valid; view.next()) {
      const retain = left-- > 0;
      const form = formOf(client?.version ?? 5, retain, idsOf([subscription]));
      const { topic, record: bytes } = view;
      const run = { namespace: session.namespace, topic, bytes, start: 0, end: bytes.length, matches: [] };
      const templates = new RunTemplates(run, now);
      if (client !== undefined && (options.qos === 0 || templates.maxQos === 0)) {
        this.#sendRun(client, templates, { qos: 0, form, noLocal: false });
      } else if (options.qos > 0) {
        this.#owe(session, client, templates, { qos: options.qos, form, noLocal: false });
      }
    }
  }

  /** A message of a queue. */
  deliver(client: Client, subscription: QueueSubscription, delivery: DeliveryView): void {
    const { ref, target, options, address } = subscription;
    const { position, lease, message } = delivery;
    const held: Held = { ref, target, position, lease };
    const qos = Math.min(options.qos, message.qos) as 0 | 1 | 2;
    if (qos !== 0) {
      if (subscription.generation > 1 && isKnown(client, held)) return;
      if (this.#broker.outbox.isSettling(subscription.session.namespace, address.name, position)) return;
      client.waiting.push({ subscription, record: message.record.slice(), held, qos });
      this.sendHeld(client);
      if (client.waiting.length > 0) client.connection.change();
      return;
    }
    const form = formOf(client.version, false, idsOf([subscription]));
    this.#write(client, made(message, topicOf(address.name, message), 0, form, Date.now()), 0, false);
    this.#settle(held, "ack", "");
  }

  /** Sends what waits of queues, as far as the window admits. */
  sendHeld(client: Client): void {
    for (let next = client.waiting[0]; next !== undefined; next = client.waiting[0]) {
      const { subscription, record, held, qos } = next;
      if (qos === 2 && client.outgoing?.open !== true) return;
      const packetId = qos === 2 ? 0 : client.outgoing?.take();
      if (packetId === undefined) return;
      client.waiting.shift();
      client.connection.change();
      const message = new RecordView(record);
      const topic = topicOf(subscription.address.name, message);
      const form = formOf(client.version, false, idsOf([subscription]));
      if (qos === 2) {
        this.#takeOver(client, subscription, record, held, { qos, form, noLocal: false });
        continue;
      }
      client.held.set(packetId, held);
      this.#write(client, made(message, topic, 1, form, Date.now()), packetId, false);
    }
  }

  /** The session takes a message over: at QoS 2 it must not go to another member any more [MQTT-4.8.2-4, MQTT-4.8.2-5]. */
  #takeOver(
    client: Client,
    { session, address }: QueueSubscription,
    record: Uint8Array,
    held: Held,
    plan: Plan,
  ): void {
    const topic = topicOf(address.name, new RecordView(record));
    const run = { namespace: "", topic, bytes: record, start: 0, end: record.length, matches: [] };
    const owed = this.#owe(session, client, new RunTemplates(run, Date.now()), plan);
    // Without room in the log it stays with its queue, which tries again later.
    if (!owed) return this.#settle(held, "fail", "the gateway's backlog is full");
    // A session that outlives a crash must not get from its queue what its log holds already.
    const { outbox } = this.#broker;
    const kept =
      session.expirySeconds > 0 && outbox.settle(session.namespace, address.name, held) === undefined;
    if (!kept) this.#settle(held, "ack", "");
  }

  /** A subscription ended: what waits for the window goes to another consumer [MQTT-3.10.4-2]. */
  forget(client: Client, { ref }: Subscription): void {
    const left = client.waiting.filter(({ held }) => held.ref !== ref);
    client.waiting.splice(0, client.waiting.length, ...left);
  }

  /** A session goes on: what was sent and not finished is sent again, then what waited [MQTT-4.4.0-1]. */
  resume(client: Client, now: number): void {
    const { outgoing } = client;
    if (outgoing === undefined) return;
    // A connection that was taken over has left no word.
    outgoing.suspend();
    outgoing.setWindow(client.receiveMaximum);
    for (const item of outgoing.resume()) {
      if ("release" in item) client.connection.write(answer("pubrel", item.packetId));
      else this.#sendKept(client, item, now);
    }
    this.#sendNext(client, now);
  }

  puback(client: Client, { packetId, reasonCode }: PublishAnswer, now: number): void {
    client.connection.change();
    const held = client.held.get(packetId);
    if (held !== undefined) {
      client.held.delete(packetId);
      client.outgoing?.giveBack(packetId);
      this.#settleAnswered(client, held, reasonCode);
    } else {
      client.outgoing?.puback(packetId);
    }
    this.#sendNext(client, now);
  }

  pubrec(client: Client, { packetId, reasonCode }: PublishAnswer, now: number): void {
    client.connection.change();
    const outcome = client.outgoing?.pubrec(packetId, reasonCode >= 0x80) ?? "unknown";
    if (outcome === "release") client.connection.write(answer("pubrel", packetId));
    else if (outcome === "unknown") {
      client.send({ type: "pubrel", packetId, reasonCode: ReasonCode.PacketIdentifierNotFound });
    } else this.#sendNext(client, now);
  }

  pubcomp(client: Client, { packetId }: PublishAnswer, now: number): void {
    client.connection.change();
    client.outgoing?.pubcomp(packetId);
    this.#sendNext(client, now);
  }

  /** The socket is gone: a shared subscription's messages may go to other members at once. */
  lost(client: Client): void {
    client.outgoing?.suspend();
    for (const goOn of client.afterSuback.splice(0)) goOn();
    const held = [...client.held.values(), ...client.waiting.map((waiting) => waiting.held)];
    client.held.clear();
    client.waiting.length = 0;
    const shared = new Set<number>();
    for (const subscription of client.session?.subscriptions.values() ?? []) {
      if (subscription.kind === "queue" && groupOf(subscription.address.name) !== undefined) {
        shared.add(subscription.ref);
      }
    }
    for (const each of held) if (shared.has(each.ref)) this.#settle(each, "release", "");
  }

  /** Everything of one form and QoS 0, in one piece that all its receivers share. */
  #sendRun(client: Client, templates: RunTemplates, { form }: Plan): void {
    if (client.aliasMaximum === 0 && templates.largest(form) <= client.packetMaximum) {
      client.connection.writeSoon(templates.run(form));
      return;
    }
    for (let at = 0; at < templates.count; at++) {
      this.#write(client, templates.at(at, 0, form), 0, false);
    }
  }

  /**
   * Messages of QoS 1 and 2, each with a packet id of its receiver; those of QoS 0 between them in their place.
   *
   * @returns whether all are owed now: the log may have no room
   */
  #owe(session: Session, client: Client | undefined, templates: RunTemplates, { qos, form }: Plan): boolean {
    const { backlog } = this.#broker;
    const durable = session.expirySeconds > 0;
    if (client === undefined && !durable) return false;
    let all = true;
    const outgoing = backlog.outgoing(session.id, durable);
    const { retain, subscriptionIds } = form;
    for (let at = 0; at < templates.count; at++) {
      const messageQos = Math.min(qos, templates.qos(at)) as 0 | 1 | 2;
      if (messageQos === 0) {
        if (client !== undefined) this.#write(client, templates.at(at, 0, form), 0, false);
        continue;
      }
      const flag = retain && templates.retain(at);
      // What the log calls durable stays so, whatever expiry a later connection has asked for.
      const live = !outgoing.durable && outgoing.open;
      const position = live ? 0 : backlog.keep(templates.record(at));
      // Without room the log says so before a stored packet is taken; what is not stored is lost to a client that is too slow.
      if (typeof position !== "number") {
        all = false;
        continue;
      }
      const owed = { position, qos: messageQos, retain: flag, subscriptionIds };
      const packetId = outgoing.offer(owed);
      if (packetId === undefined || client === undefined) continue;
      this.#write(client, templates.at(at, messageQos, form), packetId, false);
      client.connection.change();
    }
    return all;
  }

  /** No Local: what the client itself published reaches it only through subscriptions without it [MQTT-3.8.3-3]. */
  #withoutOwn(run: TopicRun, match: Match, now: number): void {
    const { session, subscriptions } = match;
    const client = this.#clientOf(session);
    for (const view = new RecordView(run.bytes, run.start); view.at < run.end; view.next()) {
      const own = view.publisher === session.client;
      const left = own ? subscriptions.filter(({ options }) => !options.noLocal) : subscriptions;
      if (left.length === 0) continue;
      const plan = planOf({ session, subscriptions: left }, client?.version ?? 5);
      const templates = new RunTemplates({ ...run, start: view.at, end: view.at + view.size }, now);
      if (plan.qos === 0 || templates.maxQos === 0) {
        if (client !== undefined) this.#sendRun(client, templates, plan);
      } else this.#owe(session, client, templates, plan);
    }
  }

  #sendNext(client: Client, now: number): void {
    const { outgoing } = client;
    if (outgoing === undefined || client.stage !== "connected") return;
    this.sendHeld(client);
    for (let next = outgoing.next(now); next !== undefined; next = outgoing.next(now)) {
      client.connection.change();
      this.#sendKept(client, next, now);
    }
    // What is taken over from a queue goes behind what the log holds.
    this.sendHeld(client);
  }

  /** Sends a message from the log; one that is gone from it counts as finished. */
  #sendKept(
    client: Client,
    { position, packetId, qos, retain, subscriptionIds, dup }: ToSend,
    now: number,
  ): void {
    const message = this.#broker.backlog.record(position);
    if (message === undefined) {
      if (qos === 1) client.outgoing?.puback(packetId);
      else client.outgoing?.pubrec(packetId, true);
      return;
    }
    const form = formOf(client.version, retain, subscriptionIds);
    this.#write(client, made(message, message.topic, qos, form, now), packetId, dup);
  }

  /** Writes one PUBLISH. One that is too large for the client counts as delivered [MQTT-3.1.2-25]. */
  #write(client: Client, packet: Made, packetId: number, dup: boolean): void {
    if (packet.bytes.length > client.packetMaximum) {
      if (packetId > 0) this.#skip(client, packetId);
      return;
    }
    const roomy = client.aliasMaximum > 0 && packet.bytes.length + ALIAS_BYTES <= client.packetMaximum;
    const alias = roomy ? client.aliasFor(packet.fields.topic) : undefined;
    const template = alias === undefined ? packet : withAlias(packet, alias.alias, alias.known);
    client.connection.write(packetId > 0 ? withPacketId(template, packetId, dup) : template.bytes);
  }

  #skip(client: Client, packetId: number): void {
    const held = client.held.get(packetId);
    if (held !== undefined) {
      client.held.delete(packetId);
      client.outgoing?.giveBack(packetId);
      this.#settle(held, "dead", "larger than what the client takes");
    } else if (client.outgoing?.puback(packetId) === false) client.outgoing.pubrec(packetId, true);
  }

  #settleAnswered(client: Client, held: Held, reasonCode: number): void {
    if (reasonCode < 0x80) return this.#settle(held, "ack", "");
    const { session } = client.connection;
    const subscription = [...(session?.subscriptions.values() ?? [])].find(({ ref }) => ref === held.ref);
    const shared = subscription?.kind === "queue" && groupOf(subscription.address.name) !== undefined;
    // No other member of a group gets what one has refused [MQTT-4.8.2-6].
    if (shared) this.#settle(held, "ack", "");
    else this.#settle(held, "fail", `reason code ${reasonCode}`);
  }

  #settle({ target, position, lease }: Held, outcome: Outcome, reason: string): void {
    const settlements = [{ position, lease, outcome, reason, delayMs: undefined }];
    this.#broker.links.queue(target).command({ type: "settle", settlements }, () => undefined);
  }
}

/** One copy for all subscriptions that match, at the highest QoS, with all their identifiers [MQTT-3.3.4-2, MQTT-3.3.4-4]. */
function planOf({ subscriptions }: Match, version: Form["version"]): Plan {
  let qos: 0 | 1 | 2 = 0;
  let noLocal = false;
  let retain = false;
  for (const { options } of subscriptions) {
    if (options.qos > qos) qos = options.qos;
    noLocal ||= options.noLocal;
    retain ||= options.retainAsPublished;
  }
  return { qos, noLocal, form: formOf(version, retain, idsOf(subscriptions)) };
}

function idsOf(subscriptions: (TopicSubscription | QueueSubscription)[]): number[] {
  return subscriptions.map(({ options }) => options.subscriptionId).filter((id) => id > 0);
}

/** A queue that was asked to send again what it holds also sends what is on its way to the client already. */
function isKnown(client: Client, { ref, position, lease }: Held): boolean {
  const same = (other: Held) => other.ref === ref && other.position === position && other.lease === lease;
  return [...client.held.values()].some(same) || client.waiting.some(({ held }) => same(held));
}

/** The topic that a queue's message is delivered under: where it was published, or the queue. */
function topicOf(queue: string, message: RecordView): string {
  return groupOf(queue) === undefined ? QUEUE_PREFIX + queue : message.topic;
}
