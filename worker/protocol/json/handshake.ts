// `hello` and `auth`: who the client is, which session it gets. The only requests that wait for something besides a queue.
import { resolveNamespace } from "../../auth/namespace.ts";
import type { Principal } from "../../auth/principal.ts";
import { authenticate } from "../../auth/token.ts";
import { maxMessageBytes } from "../../env.ts";
import { errorEntry, isRefusal, type Refusal, refuse } from "../../errors.ts";
import type { Broker } from "../../gateway/broker.ts";
import type { Connection } from "../../gateway/connection.ts";
import type { Begun } from "../../gateway/sessions.ts";
import { MAX_BATCH, MAX_CREDIT, MAX_FRAME_BYTES, MAX_SUBSCRIPTIONS } from "../../limits.ts";
import type { Answer } from "./answers.ts";
import { CLOSE } from "./close.ts";
import type { AuthFrame, HelloFrame } from "./frames.ts";
import { errorFrame, okFrame } from "./render.ts";

/** Characters of a principal that fit into a socket's attachment together with the rest. */
const MAX_PRINCIPAL_CHARS = 8_000;

/** Carries out the requests of a connection's beginning. */
export class Handshake {
  readonly #broker: Broker;
  readonly #goOn: (connection: Connection) => void;

  /** @param goOn carries out what arrived meanwhile */
  constructor(broker: Broker, goOn: (connection: Connection) => void) {
    this.#broker = broker;
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
    if (frame.will !== undefined) {
      return answer(errorFrame(frame.id, refuse("not-supported", "wills are not served")));
    }
    const principal = await this.#principal(connection, frame.token);
    if (isRefusal(principal)) return this.#refuse(connection, frame.id, principal, answer);
    const namespace = resolveNamespace(principal, connection.urlNamespace);
    if (isRefusal(namespace)) return this.#refuse(connection, frame.id, namespace, answer);
    // The socket may be gone by now: a session that began here would never be told.
    if (!connection.open) return answer(undefined);
    const begun = this.#broker.sessions.begin(connection, {
      namespace,
      client: frame.client ?? crypto.randomUUID(),
      principal,
      expirySeconds: frame.session?.expirySeconds ?? 0,
      newId: crypto.randomUUID(),
    });
    if (isRefusal(begun)) return this.#refuse(connection, frame.id, begun, answer);
    begun.replaced?.close(CLOSE.takenOver, "taken over by a newer connection of the same client");
    answer(this.#welcome(frame.id, begun));
    this.#broker.remember(connection);
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
    session.principal = principal;
    answer(okFrame(frame.id, expiry(principal)));
    this.#broker.remember(connection);
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

function expiry({ expiresAt }: Principal): { expiresAt?: number } {
  return expiresAt === undefined ? {} : { expiresAt };
}
