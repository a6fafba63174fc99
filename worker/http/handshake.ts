// What the Worker hands to a gateway with a socket: who opens it and in which namespace, in headers that the gateway trusts because
// only the Worker can set them.
import type { Principal } from "../auth/principal.ts";

const PRINCIPAL_HEADER = "dunlin-principal";
const NAMESPACE_HEADER = "dunlin-namespace";

/**
 * Sets the trusted headers, and takes away what else could stand in their place.
 *
 * @param principal who opens the socket; undefined while only a token in `hello` will tell
 * @param namespace what the URL names, "" when it names none
 */
export function setTrusted(headers: Headers, principal: Principal | undefined, namespace: string): void {
  headers.delete("authorization");
  headers.delete(PRINCIPAL_HEADER);
  if (principal) headers.set(PRINCIPAL_HEADER, asHeader(principal));
  headers.set(NAMESPACE_HEADER, namespace);
}

/** Header values are bytes: everything beyond ASCII is escaped, which JSON allows anywhere in its strings. */
function asHeader(principal: Principal): string {
  return JSON.stringify(principal).replace(
    /[\u0080-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
