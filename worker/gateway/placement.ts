// Which gateway holds a client's session: a pure function of the client id, so that every connection of it finds the same one.
import { hash } from "../hash.ts";

/**
 * The name of a client's gateway.
 *
 * @param gateways how many gateways share the sessions; GATEWAYS of the environment
 * @example gatewayName("ann", 4) // "gateway-0" … "gateway-3"
 */
export function gatewayName(client: string, gateways: number): string {
  return `gateway-${hash(client) % gateways}`;
}

/** The number of gateways that a variable asks for: 1 unless it is a larger whole number. */
export function gatewayCount(variable: string | undefined): number {
  const count = Number(variable);
  return Number.isInteger(count) && count >= 1 ? count : 1;
}

/**
 * The gateway that the topic of a reply leads to. One that no gateway made leads to the first, where nobody waits for it: an invented
 * name calls no object into being.
 *
 * @param topic a topic under `$reply/`
 * @example replyGateway("$reply/gateway-3/gk0…", 4) // "gateway-3"
 */
export function replyGateway(topic: string, gateways: number): string {
  const number = Number(/^\$reply\/gateway-(\d{1,9})\//.exec(topic)?.[1]);
  return `gateway-${number < gateways ? number : 0}`;
}

/**
 * A client id for one without its own that leads back to the same gateway.
 *
 * @param random makes an id
 * @example freshClient("gateway-3", 4, () => crypto.randomUUID())
 */
export function freshClient(gateway: string, gateways: number, random: () => string): string {
  let client = random();
  // A gateway of an earlier deployment may have a name that no client leads to any more.
  for (let tries = 0; gatewayName(client, gateways) !== gateway && tries < gateways * 20; tries++) {
    client = random();
  }
  return client;
}
