// GET /ws: picks the gateway of the client and hands the handshake on. The gateway ends the socket and reads its frames.

import { checkNamespace } from "../address.ts";
import { checkLocal } from "../auth/local.ts";
import { resolveNamespace } from "../auth/namespace.ts";
import { ANYONE, type Principal } from "../auth/principal.ts";
import { requestToken } from "../auth/request.ts";
import { authConfigured, authenticate } from "../auth/token.ts";
import type { Env } from "../env.ts";
import { type ErrorKind, errorEntry, isRefusal, type Refusal, refuse } from "../errors.ts";
import { gatewayCount, gatewayName } from "../gateway/placement.ts";
import { problem, reach } from "./answer.ts";

/** The subprotocol of the JSON framing. */
const JSON_PROTOCOL = "dunlin.v1.json";
/** Headers of a handshake that a gateway trusts, because only the router can set them. */
const PRINCIPAL_HEADER = "dunlin-principal";
const NAMESPACE_HEADER = "dunlin-namespace";

/** Answers a request to `/ws`. */
export async function openSocket(request: Request, env: Env): Promise<Response> {
  if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") {
    const refusal = refuse("bad-state", `this is a WebSocket: open it with the subprotocol ${JSON_PROTOCOL}`);
    return problem(refusal, { status: 426, headers: { upgrade: "websocket" } });
  }
  const offered = request.headers.get("sec-websocket-protocol")?.split(",") ?? [];
  if (!offered.some((protocol) => protocol.trim() === JSON_PROTOCOL)) {
    return problem(refuse("bad-field", `Sec-WebSocket-Protocol must offer ${JSON_PROTOCOL}`));
  }
  const url = new URL(request.url);
  const urlNamespace = url.searchParams.get("ns");
  const principal = await knownPrincipal(request, env);
  if (isRefusal(principal)) return refuseSocket(principal);
  const refusal =
    (principal === ANYONE ? checkLocal(request) : undefined) ?? checkUrlNamespace(urlNamespace, principal);
  if (refusal) return refuseSocket(refusal);

  const headers = new Headers(request.headers);
  headers.delete("authorization");
  headers.delete(PRINCIPAL_HEADER);
  if (principal) headers.set(PRINCIPAL_HEADER, asHeader(principal));
  headers.set(NAMESPACE_HEADER, urlNamespace ?? "");
  const client = url.searchParams.get("client") ?? crypto.randomUUID();
  const gateway = env.GATEWAY.getByName(gatewayName(client, gatewayCount(env.GATEWAYS)));
  // The token stays here: what a gateway logs or keeps of a handshake must not hold it.
  url.searchParams.delete("token");
  const answer = await reach(gateway.fetch(new Request(url, { headers })));
  return isRefusal(answer) ? problem(answer) : answer;
}

/** Who opens the socket, as far as it is known yet: a token may also come in `hello`. */
async function knownPrincipal(request: Request, env: Env): Promise<Principal | Refusal | undefined> {
  const token = requestToken(request);
  return token === undefined && authConfigured(env) ? undefined : authenticate(token, env);
}

function checkUrlNamespace(namespace: string | null, principal: Principal | undefined): Refusal | undefined {
  if (principal === undefined) return namespace ? checkNamespace(namespace) : undefined;
  const resolved = resolveNamespace(principal, namespace);
  return isRefusal(resolved) ? resolved : undefined;
}

/**
 * A browser cannot see the status of a refused handshake, and would try again for ever: the socket opens and closes with the
 * reason. What may pass by itself is refused before the socket opens, which means just that.
 */
function refuseSocket(refusal: Refusal): Response {
  const code = closeCode(refusal.kind);
  if (code === undefined) return problem(refusal);
  const { 0: client, 1: server } = new WebSocketPair();
  server.accept();
  server.close(code, refusal.message.slice(0, 120));
  const headers = { "sec-websocket-protocol": JSON_PROTOCOL };
  return new Response(null, { status: 101, webSocket: client, headers });
}

function closeCode(kind: ErrorKind): number | undefined {
  const { status } = errorEntry(kind);
  return status === 400 || status === 401 || status === 403 ? 4_000 + status : undefined;
}

/** Header values are bytes: everything beyond ASCII is escaped, which JSON allows anywhere in its strings. */
function asHeader(principal: Principal): string {
  return JSON.stringify(principal).replace(
    /[\u0080-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
