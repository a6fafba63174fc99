// `hello` and `auth`: who the client is, which session it gets. The only requests that wait for something besides a queue.
import { parseAddress } from "../../address.ts";
import { resolveNamespace } from "../../auth/namespace.ts";
import { permits } from "../../auth/permission.ts";
import type { Principal } from "../../auth/principal.ts";
import { authenticate } from "../../auth/token.ts";
import { Writer } from "../../bytes/writer.ts";
import { maxMessageBytes } from "../../env.ts";
import { errorEntry, isRefusal, type Refusal, refuse } from "../../errors.ts";
import type { Broker } from "../../gateway/broker.ts";
import type { Connection } from "../../gateway/connection.ts";
import { freshClient, gatewayCount } from "../../gateway/placement.ts";
import type { Subscription, Will } from "../../gateway/session.ts";
import type { Begun } from "../../gateway/sessions.ts";
import { MAX_BATCH, MAX_CREDIT, MAX_FRAME_BYTES, MAX_SUBSCRIPTIONS } from "../../limits.ts";
import { toMessage, toTopic } from "../../message/fields.ts";
import { checkWill } from "../../message/presence.ts";
import { writeMessage } from "../../message/record.ts";
import type { Answer } from "./answers.ts";
import { CLOSE } from "./close.ts";
import type { AuthFrame, HelloFrame } from "./frames.ts";
import { errorFrame, okFrame } from "./render.ts";
import type { JsonTopics } from "./topics.ts";

/** Characters of a principal that fit into a socket's attachment together with the rest. */
const MAX_PRINCIPAL_CHARS = 8_000;
const NEVER = Number.POSITIVE_INFINITY;

/** Carries out the requests of a connection's beginning. */
export class Handshake {
  readonly #broker: Broker;
  readonly #topics: JsonTopics;
  readonly #goOn: (connection: Connection) => void;

  /** @param goOn carries out what arrived meanwhile */
  constructor(broker: Broker, topics: JsonTopics, goOn: (connection: Connection) => void) {
    this.#broker = broker;
    this.#topics = topics;
    this.#goOn = goOn;
  }

  run(connection: Connection, op: "hello" | "auth", frame: object, answer: Answer): void {
    const { id } = frame as HelloFrame;
    if (op === "hello" && connection.session !== undefined) {
      return answer(errorFrame(id, refuse("bad-state", "this connection has said hello before")));
    }
    connection.authenticating = true;
    const done =
      op === "hello"
        ? this.#hello(connection, frame as HelloFrame, answer)
        : this.#auth(connection, frame as AuthFrame, answer);
    done
      .catch((error: unknown) => {
        console.error("a handshake failed", error);
        this.#refuse(connection, id, refuse("internal", "the broker failed on this request"), answer);
      })
      .finally(() => {
        connection.authenticating = false;
        this.#goOn(connection);
        this.#broker.flush();
      });
  }

  async #hello(connection: Connection, frame: HelloFrame, answer: Answer): Promise<void> {
    const principal = await this.#principal(connection, frame.token);
    if (isRefusal(principal)) return this.#refuse(connection, frame.id, principal, answer);
    const namespace = resolveNamespace(principal, connection.urlNamespace);
    if (isRefusal(namespace)) return this.#refuse(connection, frame.id, namespace, answer);
    const { env, gateway } = this.#broker;
    const assigned = () => freshClient(gateway, gatewayCount(env.GATEWAYS), () => crypto.randomUUID());
    const client = frame.client ?? assigned();
    const will = willOf(frame, { namespace, client, principal }, maxMessageBytes(this.#broker.env));
    if (isRefusal(will)) return this.#refuse(connection, frame.id, will, answer);
    // The socket may be gone by now: a session that began here would never be told.
    if (!connection.open) return answer(undefined);
    const begun = this.#broker.sessions.begin(connection, {
      namespace,
      client,
      principal,
      expirySeconds: frame.session?.expirySeconds ?? 0,
      clean: false,
      will,
      newId: crypto.randomUUID(),
    });
    if (isRefusal(begun)) return this.#refuse(connection, frame.id, begun, answer);
    answer(this.#welcome(frame.id, begun));
    this.#broker.welcomed(connection);
    tellRevoked(connection, begun.revoked);
    this.#topics.resume(begun.session, frame.resume ?? []);
    for (const subscription of begun.session.subscriptions.values()) {
      if (subscription.kind === "topic") this.#topics.tellLag(subscription);
    }
  }

  #welcome(id: number, { session, resumed }: Begun): string {
    const { client, namespace, principal } = session;
    return JSON.stringify({
      op: "welcome",
      id,
      client,
      session: session.id,
      resumed,
      namespace,
      serverTime: Date.now(),
      ...expiry(principal),
      limits: {
        maxMessageBytes: maxMessageBytes(this.#broker.env),
        maxFrameBytes: MAX_FRAME_BYTES,
        maxBatch: MAX_BATCH,
        maxCredit: MAX_CREDIT,
        maxSubscriptions: MAX_SUBSCRIPTIONS,
      },
    });
  }

  /** A fresh token on the live connection: of the same subject, for the same namespace, or nothing changes. */
  async #auth(connection: Connection, frame: AuthFrame, answer: Answer): Promise<void> {
    const { session } = connection;
    const principal = await this.#principal(connection, frame.token);
    if (session === undefined || isRefusal(principal)) {
      return answer(isRefusal(principal) ? errorFrame(frame.id, principal) : undefined);
    }
    const namespace = resolveNamespace(principal, connection.urlNamespace || session.namespace);
    if (isRefusal(namespace)) return answer(errorFrame(frame.id, namespace));
    if (principal.subject !== session.principal.subject) {
      return answer(errorFrame(frame.id, refuse("forbidden", "a fresh token is of the same subject")));
    }
    const revoked = this.#broker.sessions.authorize(session, principal);
    answer(okFrame(frame.id, expiry(principal)));
    this.#broker.welcomed(connection);
    tellRevoked(connection, revoked);
  }

  async #principal(connection: Connection, token: string | undefined): Promise<Principal | Refusal> {
    const principal =
      token === undefined && connection.principal !== undefined
        ? connection.principal
        : await authenticate(token, this.#broker.env);
    if (isRefusal(principal)) return principal;
    const size = JSON.stringify(principal).length;
    if (size <= MAX_PRINCIPAL_CHARS) return principal;
    return refuse(
      "unauthenticated",
      `a token's permissions have at most ${MAX_PRINCIPAL_CHARS} characters, got ${size}`,
    );
  }

  #refuse(connection: Connection, id: number, refusal: Refusal, answer: Answer): void {
    answer(errorFrame(id, refusal));
    const { status } = errorEntry(refusal.kind);
    if (status === 401) connection.close(CLOSE.unauthenticated, refusal.kind);
    else if (status === 403) connection.close(CLOSE.forbidden, refusal.kind);
    else connection.close(status >= 500 ? CLOSE.brokerFailed : CLOSE.badFrame, refusal.kind);
  }
}

/** The will of a hello, if it has one and the client may publish it. */
function willOf(
  { will }: HelloFrame,
  { namespace, client, principal }: { namespace: string; client: string; principal: Principal },
  maxBytes: number,
): Will | undefined | Refusal {
  if (will === undefined) return undefined;
  const { to, delaySeconds = 0, ttlMs = 0, ...fields } = will;
  const address = parseAddress(to);
  if (isRefusal(address)) return address;
  const forbidden =
    (address.kind === "topic" ? checkWill(address.name) : undefined) ??
    permits(principal, "publish", to) ??
    (will.receiptTo === undefined ? undefined : permits(principal, "publish", will.receiptTo));
  if (forbidden !== undefined) return forbidden;
  const stray = (["prepare", "expectSeq", "producer"] as const).find((name) => fields[name] !== undefined);
  if (stray !== undefined) return refuse("not-supported", `a will takes no ${stray}`);
  const message = toMessage(fields, 0, maxBytes);
  const sound =
    isRefusal(message) || address.kind === "queue" ? message : toTopic(message, address.name, client);
  if (isRefusal(sound)) return sound;
  const record = new Writer(256);
  writeMessage(record, sound);
  return { namespace, address: to, record: record.take(), ttlMs, delaySeconds, dueAt: NEVER };
}

function tellRevoked(connection: Connection, revoked: Subscription[]): void {
  const reason = "the token does not allow it any more";
  for (const subscription of revoked) connection.protocol.gone(connection, subscription, reason);
}

function expiry({ expiresAt }: Principal): { expiresAt?: number } {
  return expiresAt === undefined ? {} : { expiresAt };
}
