// `hello` and `auth`: who the client is, which session it gets. The only requests that wait for something besides a queue.
import { resolveNamespace } from "../../auth/namespace.ts";
import type { Principal } from "../../auth/principal.ts";
import { authenticate } from "../../auth/token.ts";
import { maxMessageBytes } from "../../env.ts";
import { errorEntry, isRefusal, type Refusal, refuse } from "../../errors.ts";
import type { Broker } from "../../gateway/broker.ts";
import type { Connection } from "../../gateway/connection.ts";
import { MAX_BATCH, MAX_CREDIT, MAX_FRAME_BYTES, MAX_SUBSCRIPTIONS } from "../../limits.ts";
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

  run(connection: Connection, op: "hello" | "auth", frame: object): void {
    if (op === "hello" && connection.session !== undefined) {
      const { id } = frame as HelloFrame;
      connection.write(errorFrame(id, refuse("bad-state", "this connection has said hello before")));
      return;
    }
    connection.authenticating = true;
    const work =
      op === "hello"
        ? this.#hello(connection, frame as HelloFrame)
        : this.#auth(connection, frame as AuthFrame);
    work
      .catch((error: unknown) => {
        console.error("a handshake failed", error);
        this.#refuse(
          connection,
          (frame as HelloFrame).id,
          refuse("internal", "the broker failed on this request"),
        );
      })
      .finally(() => {
        connection.authenticating = false;
        if (connection.open) this.#goOn(connection);
        this.#broker.flush();
      });
  }

  async #hello(connection: Connection, frame: HelloFrame): Promise<void> {
    if (frame.will !== undefined) {
      connection.write(errorFrame(frame.id, refuse("not-supported", "wills are not served")));
      return;
    }
    const principal = await this.#principal(connection, frame.token);
    if (isRefusal(principal)) return this.#refuse(connection, frame.id, principal);
    const namespace = resolveNamespace(principal, connection.urlNamespace);
    if (isRefusal(namespace)) return this.#refuse(connection, frame.id, namespace);
    const { resumed, session, replaced } = this.#broker.sessions.begin(connection, {
      namespace,
      client: frame.client ?? crypto.randomUUID(),
      principal,
      expirySeconds: frame.session?.expirySeconds ?? 0,
      newId: crypto.randomUUID(),
    });
    replaced?.close(4409, "taken over by a newer connection of the same client");
    this.#broker.remember(connection);
    connection.write(
      JSON.stringify({
        op: "welcome",
        id: frame.id,
        client: session.client,
        session: session.id,
        resumed,
        namespace,
        serverTime: Date.now(),
        ...(principal.expiresAt === undefined ? {} : { expiresAt: principal.expiresAt }),
        limits: {
          maxMessageBytes: maxMessageBytes(this.#broker.env),
          maxFrameBytes: MAX_FRAME_BYTES,
          maxBatch: MAX_BATCH,
          maxCredit: MAX_CREDIT,
          maxSubscriptions: MAX_SUBSCRIPTIONS,
        },
      }),
    );
  }

  /** A fresh token on the live connection: for the same namespace, or nothing changes. */
  async #auth(connection: Connection, frame: AuthFrame): Promise<void> {
    const { session } = connection;
    const principal = await this.#principal(connection, frame.token);
    if (session === undefined) return;
    if (isRefusal(principal)) return connection.write(errorFrame(frame.id, principal));
    const namespace = resolveNamespace(principal, connection.urlNamespace || session.namespace);
    if (isRefusal(namespace)) return connection.write(errorFrame(frame.id, namespace));
    session.principal = principal;
    this.#broker.remember(connection);
    connection.write(
      okFrame(frame.id, principal.expiresAt === undefined ? {} : { expiresAt: principal.expiresAt }),
    );
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

  #refuse(connection: Connection, id: number, refusal: Refusal): void {
    connection.write(errorFrame(id, refusal));
    const { status } = errorEntry(refusal.kind);
    // 4000–4399 invite a reconnect, which helps only when the broker itself was at fault.
    connection.close(
      status === 401 || status === 403 ? 4_000 + status : status >= 500 ? 4_000 : 4_400,
      refusal.kind,
    );
  }
}
