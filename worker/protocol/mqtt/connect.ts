// CONNECT and AUTH: who the client is, which session it gets, what both sides may do. The only packets that wait for something
// besides a queue or topic.
import { checkName } from "../../address.ts";
import { resolveNamespace } from "../../auth/namespace.ts";
import type { Principal } from "../../auth/principal.ts";
import { authConfigured, authenticate } from "../../auth/token.ts";
import { Writer } from "../../bytes/writer.ts";
import { maxMessageBytes } from "../../env.ts";
import { isRefusal, type Refusal, refuse } from "../../errors.ts";
import type { Broker } from "../../gateway/broker.ts";
import { freshClient, gatewayCount } from "../../gateway/placement.ts";
import type { Will } from "../../gateway/session.ts";
import type { Begun } from "../../gateway/sessions.ts";
import { MAX_CLIENT_ID_CHARS } from "../../limits.ts";
import { checkWill } from "../../message/presence.ts";
import { writeMessage } from "../../message/record.ts";
import { type Client, TOPIC_ALIASES } from "./client.ts";
import { CLOSE } from "./close.ts";
import type { Auth, Connect, Properties } from "./codec/packets.ts";
import { ReasonCode } from "./codec/reason.ts";
import { addressOf, messageOf, publishRefusal } from "./messages.ts";
import { reasonOf } from "./reasons.ts";

/** The one method of enhanced authentication: the data is a JSON Web Token. */
export const TOKEN_METHOD = "jwt";
/** PUBLISH packets of QoS 1 and 2 that the broker takes unanswered from one client. */
export const RECEIVE_MAXIMUM = 1_024;
/** 0xFFFFFFFF: the session never ends by itself [MQTT-3.1.2-23]. */
const FOREVER = 0xffffffff;
const NEVER = Number.POSITIVE_INFINITY;
const decoder = new TextDecoder();

/** A refusal with a reason of MQTT's own. */
interface Refused {
  reason: number;
  text: string;
}

/** Carries out what authenticates a connection. */
export class Connecting {
  readonly #broker: Broker;
  readonly #begun: (client: Client, resumed: boolean) => void;
  readonly #goOn: (client: Client) => void;
  /** CONNECT packets whose AUTH exchange is under way. */
  readonly #pending = new WeakMap<Client, Connect>();

  /**
   * @param begun hears of a session that has its CONNACK
   * @param goOn reads what arrived meanwhile
   */
  constructor(
    broker: Broker,
    begun: (client: Client, resumed: boolean) => void,
    goOn: (client: Client) => void,
  ) {
    this.#broker = broker;
    this.#begun = begun;
    this.#goOn = goOn;
  }

  connect(client: Client, packet: Connect): void {
    client.stage = "connecting";
    client.method = packet.properties?.authenticationMethod;
    client.problems = packet.properties?.requestProblemInformation ?? true;
    client.packetMaximum = packet.properties?.maximumPacketSize ?? NEVER;
    if (client.method !== undefined && client.method !== TOKEN_METHOD) {
      // [MQTT-4.12.0-1]
      const text = `the authentication method is ${TOKEN_METHOD}`;
      return this.#refuse(client, { reason: ReasonCode.BadAuthenticationMethod, text });
    }
    const { authenticationData } = packet.properties ?? {};
    if (client.method !== undefined && authenticationData === undefined) {
      this.#pending.set(client, packet);
      // [MQTT-4.12.0-2]
      const properties = { authenticationMethod: TOKEN_METHOD };
      return client.send({ type: "auth", reasonCode: ReasonCode.ContinueAuthentication, properties });
    }
    const token = authenticationData ?? packet.password;
    this.#run(client, () => this.#connect(client, packet, token));
  }

  auth(client: Client, packet: Auth): void {
    const pending = this.#pending.get(client);
    const { authenticationMethod, authenticationData } = packet.properties ?? {};
    const wanted = pending === undefined ? ReasonCode.ReAuthenticate : ReasonCode.ContinueAuthentication;
    const text =
      client.method === undefined
        ? "the CONNECT named no authentication method" // [MQTT-4.12.0-6]
        : authenticationMethod !== client.method
          ? "the authentication method does not change" // [MQTT-4.12.0-5]
          : packet.reasonCode !== wanted
            ? `an AUTH here has reason code ${wanted}`
            : undefined;
    if (text !== undefined) {
      if (pending !== undefined) return this.#refuse(client, { reason: ReasonCode.ProtocolError, text });
      return client.disconnect(ReasonCode.ProtocolError, text, CLOSE.protocol);
    }
    this.#pending.delete(client);
    this.#run(client, () =>
      pending === undefined
        ? this.#authAgain(client, authenticationData)
        : this.#connect(client, pending, authenticationData),
    );
  }

  #run(client: Client, work: () => Promise<void>): void {
    const { connection } = client;
    connection.authenticating = true;
    work()
      .catch((error: unknown) => {
        console.error("a CONNECT failed", error);
        this.#refuse(client, {
          reason: ReasonCode.UnspecifiedError,
          text: "the broker failed on this packet",
        });
      })
      .finally(() => {
        connection.authenticating = false;
        this.#goOn(client);
        this.#broker.flush();
      });
  }

  async #connect(client: Client, packet: Connect, token: Uint8Array | undefined): Promise<void> {
    const { connection } = client;
    const clientId = clientIdOf(packet, this.#broker);
    if (typeof clientId !== "string") return this.#refuse(client, clientId);
    const principal = await this.#principal(client, token);
    if (isRefusal(principal)) return this.#refuse(client, toRefused(principal));
    const namespace = resolveNamespace(principal, connection.urlNamespace);
    if (isRefusal(namespace)) return this.#refuse(client, toRefused(namespace));
    const will = this.#will(packet, namespace, clientId, principal);
    if (will !== undefined && "reason" in will) return this.#refuse(client, will);
    // The socket may be gone by now: a session that began here would never be told.
    if (!connection.open) return;
    const begun = this.#broker.sessions.begin(connection, {
      ...{ namespace, client: clientId, principal, will },
      expirySeconds: expiryOf(packet),
      clean: packet.cleanStart,
      newId: crypto.randomUUID(),
    });
    if (isRefusal(begun)) return this.#refuse(client, toRefused(begun));
    this.#accept(client, packet, clientId, begun);
  }

  #accept(client: Client, packet: Connect, clientId: string, { session, resumed }: Begun): void {
    const { properties = {} } = packet;
    client.receiveMaximum = properties.receiveMaximum ?? 65_535;
    client.aliasMaximum = properties.topicAliasMaximum ?? 0;
    const serverKeepAlive = this.#serverKeepAlive(packet.keepAlive);
    client.keepAliveMs = (serverKeepAlive ?? packet.keepAlive) * 1_000;
    client.stage = "connected";
    client.resumed = resumed;
    const announced: Properties = {
      receiveMaximum: RECEIVE_MAXIMUM,
      maximumPacketSize: packetMaximum(this.#broker),
      topicAliasMaximum: TOPIC_ALIASES,
    };
    if (packet.clientId === "") announced.assignedClientIdentifier = clientId; // [MQTT-3.2.2-16]
    if (serverKeepAlive !== undefined) announced.serverKeepAlive = serverKeepAlive; // [MQTT-3.2.2-21]
    if (client.method !== undefined) announced.authenticationMethod = client.method;
    // [MQTT-3.1.2-28]
    if (properties.requestResponseInformation === true && checkName(clientId) === undefined) {
      announced.responseInformation = `response/${clientId}`;
    }
    // [MQTT-3.2.2-2, MQTT-3.2.2-3]; 3.1 has no such flag
    const sessionPresent = resumed && client.version !== 3;
    client.send({ type: "connack", sessionPresent, reasonCode: ReasonCode.Success, properties: announced });
    client.session = session;
    client.outgoing = this.#broker.backlog.outgoing(session.id, session.expirySeconds > 0);
    client.inbound = this.#broker.backlog.inbound(session.id);
    this.#broker.welcomed(client.connection);
    this.#begun(client, resumed);
  }

  /** A fresh token on the live connection [MQTT-4.12.1-1]; of the same subject, for the same namespace. */
  async #authAgain(client: Client, token: Uint8Array | undefined): Promise<void> {
    const { session, urlNamespace } = client.connection;
    const principal = await this.#principal(client, token);
    // The session may have ended, or be another connection's, by now.
    if (session === undefined || client.connection.session !== session) return;
    const namespace = isRefusal(principal)
      ? principal
      : resolveNamespace(principal, urlNamespace || session.namespace);
    const refusal = isRefusal(principal)
      ? principal
      : isRefusal(namespace)
        ? namespace
        : principal.subject === session.principal.subject
          ? undefined
          : refuse("forbidden", "a fresh token is of the same subject");
    if (refusal !== undefined || isRefusal(principal)) {
      // [MQTT-4.12.1-2]
      return client.disconnect(ReasonCode.NotAuthorized, refusal?.message ?? "", CLOSE.unauthenticated);
    }
    const revoked = this.#broker.sessions.authorize(session, principal);
    this.#broker.sessions.changed(session);
    this.#broker.welcomed(client.connection);
    const properties = { authenticationMethod: TOKEN_METHOD };
    client.send({ type: "auth", reasonCode: ReasonCode.Success, properties });
    if (revoked.length > 0) {
      // There is no word for the end of one subscription: the client connects again, and finds out what it may have.
      const text = "the fresh token does not allow all subscriptions";
      client.disconnect(ReasonCode.NotAuthorized, text, CLOSE.brokerFailed);
    }
  }

  #principal(client: Client, token: Uint8Array | undefined): Principal | Promise<Principal | Refusal> {
    const { env } = this.#broker;
    const { principal } = client.connection;
    // Who opened the socket with a token of its own may leave the password out.
    if (principal !== undefined && (token === undefined || !authConfigured(env))) return principal;
    return authenticate(token === undefined ? undefined : decoder.decode(token), env);
  }

  #will(
    { will }: Connect,
    namespace: string,
    clientId: string,
    principal: Principal,
  ): Will | Refused | undefined {
    if (will === undefined) return undefined;
    const { topic, properties = {} } = will;
    const wrong = publishRefusal(principal, topic) ?? checkWill(topic);
    if (wrong !== undefined) return toRefused(wrong);
    const message = messageOf(will, topic, clientId, 0);
    if (isRefusal(message)) return toRefused(message);
    const record = new Writer(256);
    writeMessage(record, { ...message, expiresAt: 0 });
    const { willDelayInterval: delaySeconds = 0, messageExpiryInterval = 0 } = properties;
    const ttlMs = messageExpiryInterval * 1_000;
    return { namespace, address: addressOf(topic), record: record.take(), ttlMs, delaySeconds, dueAt: NEVER };
  }

  #serverKeepAlive(asked: number): number | undefined {
    const most = Number(this.#broker.env.DUNLIN_MAX_KEEP_ALIVE_SECONDS);
    return most >= 1 && (asked === 0 || asked > most) ? Math.min(Math.floor(most), 65_535) : undefined;
  }

  /** One CONNACK that says why, then the end [MQTT-3.2.2-7]. */
  #refuse(client: Client, { reason, text }: Refused): void {
    if (client.stage === "connecting") {
      const properties = client.reason(text);
      const connack = { type: "connack" as const, sessionPresent: false, reasonCode: reason };
      client.send(properties === undefined ? connack : { ...connack, properties });
    }
    client.close(closeCode(reason), text);
  }
}

/** Bytes of the largest packet that the broker takes: the largest message, its topic and its properties. */
export function packetMaximum({ env }: Pick<Broker, "env">): number {
  return maxMessageBytes(env) + 262_144;
}

/** The client id, assigned where the client may leave it out [MQTT-3.1.3-6; 3.1.1: MQTT-3.1.3-7, MQTT-3.1.3-8]. */
function clientIdOf(
  { clientId, version, cleanStart }: Connect,
  { env, gateway }: Pick<Broker, "env" | "gateway">,
): string | Refused {
  const reason = ReasonCode.ClientIdentifierNotValid;
  if (clientId.length > MAX_CLIENT_ID_CHARS) {
    const text = `a client id has at most ${MAX_CLIENT_ID_CHARS} characters, got ${clientId.length}`;
    return { reason, text };
  }
  if (clientId !== "") return clientId;
  if (version === 5 || (version === 4 && cleanStart)) {
    return freshClient(gateway, gatewayCount(env.GATEWAYS), () => crypto.randomUUID());
  }
  return { reason, text: "a session that is kept needs a client id" };
}

function expiryOf({ version, cleanStart, properties }: Connect): number {
  if (version < 5) return cleanStart ? 0 : NEVER;
  const seconds = properties?.sessionExpiryInterval ?? 0;
  return seconds === FOREVER ? NEVER : seconds;
}

function toRefused(refusal: Refusal): Refused {
  return { reason: reasonOf(refusal), text: refusal.message };
}

function closeCode(reason: number): number {
  if (reason === ReasonCode.NotAuthorized || reason === ReasonCode.BadUserNameOrPassword) {
    return CLOSE.unauthenticated;
  }
  return reason === ReasonCode.UnspecifiedError || reason === ReasonCode.ServerBusy
    ? CLOSE.brokerFailed
    : CLOSE.protocol;
}
