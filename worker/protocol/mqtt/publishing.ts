// What clients publish: PUBLISH and PUBREL, each answered once what it says is safe.
import { isRefusal, type Refusal } from "../../errors.ts";
import { addressLink, type Broker } from "../../gateway/broker.ts";
import type { PublishDone } from "../../gateway/object-link.ts";
import type { Session } from "../../gateway/session.ts";
import { isPresence } from "../../message/presence.ts";
import type { Message } from "../../message/record.ts";
import type { Client } from "./client.ts";
import { TOPIC_ALIASES } from "./client.ts";
import { CLOSE } from "./close.ts";
import { answer } from "./codec/answers.ts";
import type { Publish, PublishAnswer } from "./codec/packets.ts";
import { ReasonCode } from "./codec/reason.ts";
import { answerCodes } from "./codec/reason-sets.ts";
import { encode } from "./codec/writer.ts";
import { RECEIVE_MAXIMUM } from "./connect.ts";
import { addressOf, messageOf, publishRefusal } from "./messages.ts";
import { reasonIn } from "./reasons.ts";

/** Refusals that may end by themselves. */
const PASSING = new Set<string>(["unavailable", "too-many", "queue-full", "internal"]);

type Answer = (bytes: Uint8Array) => void;
type Outcome = Refusal | undefined;

/** Takes messages from clients. */
export class Publishing {
  readonly #broker: Broker;
  readonly #refuseExcess: boolean;

  constructor(broker: Broker) {
    this.#broker = broker;
    // Some clients overrun what was announced and mean no harm.
    this.#refuseExcess = broker.env.DUNLIN_MQTT_LENIENT !== "true";
  }

  publish(client: Client, packet: Publish, now: number): void {
    const { session } = client.connection;
    if (session === undefined) return;
    const topic = this.#topicOf(client, packet);
    if (topic === undefined) return;
    if (packet.qos > 0 && client.unanswered + client.unreleased >= RECEIVE_MAXIMUM && this.#refuseExcess) {
      // [MQTT-3.3.4-8]
      const text = `at most ${RECEIVE_MAXIMUM} messages may be unanswered`;
      return client.disconnect(ReasonCode.ReceiveMaximumExceeded, text, CLOSE.protocol);
    }
    const refusal = publishRefusal(session.principal, topic);
    if (refusal !== undefined && client.version === 5 && packet.qos === 0 && refusal.kind === "bad-address") {
      return client.disconnect(ReasonCode.TopicNameInvalid, refusal.message, CLOSE.protocol);
    }
    const message = refusal ?? messageOf(packet, topic, session.client, now);
    this.#broker.traffic(session.namespace).messagesReceived++;
    if (packet.qos === 0) {
      if (!isRefusal(message)) this.#send(session, topic, message, () => undefined);
    } else if (packet.qos === 1) {
      this.#atLeastOnce(client, session, packet.packetId, topic, message);
    } else {
      this.#exactlyOnce(client, session, packet.packetId, topic, message);
    }
  }

  /** PUBREL: the id may be used again [MQTT-4.3.3-12]. */
  release(client: Client, { packetId }: PublishAnswer): void {
    const known = client.inbound?.remove(packetId) ?? false;
    if (known) client.unreleased = Math.max(0, client.unreleased - 1);
    client.connection.change();
    const reasonCode = ReasonCode.PacketIdentifierNotFound;
    // After a lost connection a PUBREL comes again whose PUBCOMP was lost: its id is not known any more, and nothing is wrong.
    if (known || client.resumed) client.connection.writeSoon(answer("pubcomp", packetId));
    else client.send({ type: "pubcomp", packetId, reasonCode });
  }

  /** Topic after aliases; undefined when the connection had to be closed. */
  #topicOf(client: Client, { topic, properties }: Publish): string | undefined {
    const alias = properties?.topicAlias;
    if (alias === undefined) return topic;
    if (alias > TOPIC_ALIASES) {
      // [MQTT-3.2.2-18]
      const text = `a topic alias is at most ${TOPIC_ALIASES}, got ${alias}`;
      client.disconnect(ReasonCode.TopicAliasInvalid, text, CLOSE.protocol);
      return undefined;
    }
    const known = topic === "" ? client.aliases.get(alias) : topic;
    if (known === undefined) {
      client.disconnect(ReasonCode.ProtocolError, `topic alias ${alias} was not set`, CLOSE.protocol);
      return undefined;
    }
    if (topic !== "" && client.aliases.get(alias) !== topic) {
      client.aliases.set(alias, topic);
      client.connection.change();
    }
    return known;
  }

  #atLeastOnce(
    client: Client,
    session: Session,
    packetId: number,
    topic: string,
    message: Message | Refusal,
  ): void {
    const place = client.answerLater();
    client.unanswered++;
    const done = (outcome: Outcome) => {
      client.unanswered--;
      this.#answer(client, "puback", packetId, outcome, place);
    };
    if (isRefusal(message)) done(message);
    else this.#send(session, topic, message, done);
  }

  /**
   * QoS 2: the message is taken over before PUBREC says so, and its id remembered in the same act [MQTT-4.3.3-8, MQTT-4.3.3-9]. For a
   * session that outlives its connection both are in the gateway's log; another session ends with a lost connection, and its ids
   * with it.
   */
  #exactlyOnce(
    client: Client,
    session: Session,
    packetId: number,
    topic: string,
    message: Message | Refusal,
  ): void {
    const place = client.answerLater();
    const { inbound } = client;
    // A repeated PUBLISH of an id that was not released is the same message [MQTT-4.3.3-10].
    if (inbound === undefined || inbound.has(packetId)) return place(answer("pubrec", packetId));
    client.unreleased++;
    const done = (outcome: Outcome) => {
      if (outcome !== undefined && inbound.remove(packetId)) {
        client.unreleased = Math.max(0, client.unreleased - 1);
        client.connection.change();
      }
      this.#answer(client, "pubrec", packetId, outcome, place);
    };
    const remember = () => {
      inbound.add(packetId);
      client.connection.change();
    };
    if (isPresence(topic) && !isRefusal(message)) {
      // Said twice it is as said once, and must not come after the session's leaving: it goes to its room at once.
      return this.#send(session, topic, message, (outcome) => {
        if (!client.connection.ended) remember();
        done(outcome);
      });
    }
    remember();
    if (isRefusal(message)) return done(message);
    if (session.expirySeconds === 0) return this.#send(session, topic, message, done);
    done(this.#broker.outbox.takeOver(session.namespace, addressOf(topic), message));
  }

  #send(session: Session, topic: string, message: Message, done: (outcome: Outcome) => void): void {
    const answered: PublishDone = (outcome) => done(isRefusal(outcome) ? outcome : undefined);
    if (isPresence(topic)) this.#broker.attendance.publish(session, topic, message, answered);
    else addressLink(this.#broker, session.namespace, addressOf(topic)).publish(message, answered);
  }

  #answer(
    client: Client,
    type: "puback" | "pubrec",
    packetId: number,
    refusal: Outcome,
    place: Answer,
  ): void {
    if (refusal !== undefined && client.version < 5 && PASSING.has(refusal.kind)) {
      // It may be taken the next time, and only a message without an acknowledgement comes again.
      return client.close(CLOSE.brokerFailed, refusal.message);
    }
    // Before 5.0 there is no other word for a refusal: the message is acknowledged and goes nowhere [3.1.1: MQTT-3.3.5-2].
    if (refusal === undefined || client.version < 5) return place(answer(type, packetId));
    const properties = client.reason(refusal.message);
    const packet = { type, packetId, reasonCode: reasonIn(answerCodes(type), refusal) };
    const bytes = encode(properties === undefined ? packet : { ...packet, properties }, client.version);
    place(bytes.length <= client.packetMaximum ? bytes : encode(packet, client.version));
  }
}
