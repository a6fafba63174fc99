// GET /ws and /mqtt: picks the gateway of the client and hands the handshake on. The gateway ends the socket and reads its frames.

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
import { setTrusted } from "./handshake.ts";
import { relay } from "./relay.ts";

/** The subprotocol of the JSON framing. */
export const JSON_PROTOCOL = "dunlin.v1.json";

/** The subprotocols of MQTT 3.1.1 and 5.0 [MQTT-6.0.0-3], and of 3.1. */
export const MQTT_PROTOCOLS = ["mqtt", "mqttv3.1"];

/** Answers a request to `/ws` or `/mqtt`, where these subprotocols are spoken. */
export async function openSocket(request: Request, env: Env, protocols: string[]): Promise<Response> {
  const names = protocols.join(" or ");
  if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") {
    const refusal = refuse("bad-state", `this is a WebSocket: open it with the subprotocol ${names}`);
    return problem(refusal, { status: 426, headers: { upgrade: "websocket" } });
  }
  const offered = request.headers.get("sec-websocket-protocol")?.split(",") ?? [];
  // [MQTT-6.0.0-4]
  const protocol = offered.map((offer) => offer.trim()).find((offer) => protocols.includes(offer));
  if (protocol === undefined) {
    return problem(refuse("bad-field", `Sec-WebSocket-Protocol must offer ${names}`));
  }
  const url = new URL(request.url);
  const urlNamespace = url.searchParams.get("ns");
  const principal = await knownPrincipal(request, env);
  if (isRefusal(principal)) return refuseSocket(principal, protocol);
  const refusal =
    (principal === ANYONE ? checkLocal(request) : undefined) ?? checkUrlNamespace(urlNamespace, principal);
  if (refusal) return refuseSocket(refusal, protocol);

  const headers = new Headers(request.headers);
  setTrusted(headers, principal, urlNamespace ?? "");
  headers.set("sec-websocket-protocol", protocol);
  // The token stays here: what a gateway logs or keeps of a handshake must not hold it.
  url.searchParams.delete("token");
  const open = (client: string) => {
    const gateway = env.GATEWAY.getByName(gatewayName(client, gatewayCount(env.GATEWAYS)));
    return gateway.fetch(new Request(url, { headers }));
  };
  const client = url.searchParams.get("client");
  // Which of several gateways has the client's session, only its first frame tells.
  if (client === null && gatewayCount(env.GATEWAYS) > 1) return relay(protocol, open);
  const answer = await reach(open(client ?? crypto.randomUUID()));
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
function refuseSocket(refusal: Refusal, protocol: string): Response {
  const code = closeCode(refusal.kind);
  if (code === undefined) return problem(refusal);
  const { 0: client, 1: server } = new WebSocketPair();
  server.accept();
  server.close(code, refusal.message.slice(0, 120));
  const headers = { "sec-websocket-protocol": protocol };
  return new Response(null, { status: 101, webSocket: client, headers });
}

function closeCode(kind: ErrorKind): number | undefined {
  const { status } = errorEntry(kind);
  return status === 400 || status === 401 || status === 403 ? 4_000 + status : undefined;
}
