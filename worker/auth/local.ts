// A broker without tokens trusts whoever can connect to its loopback address. A web page of another site can, too, through the
// browser of the person at this machine: such pages are told by their origin, or by the name they reached this address under.
import { type Refusal, refuse } from "../errors.ts";

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;

/**
 * Refuses requests that come from another site's page, to a broker that is open on its loopback address.
 *
 * @example checkLocal(request) // { kind: "forbidden", … } for `Origin: https://example.com`
 */
export function checkLocal(request: Request): Refusal | undefined {
  const { hostname } = new URL(request.url);
  if (!LOOPBACK.test(hostname)) {
    return refuse(
      "forbidden",
      `without tokens the broker answers to loopback names only, not to ${hostname}`,
    );
  }
  const origin = request.headers.get("origin");
  if (origin === null || LOOPBACK.test(hostOf(origin))) return undefined;
  return refuse(
    "forbidden",
    `without tokens the broker serves only pages of this machine, not of ${origin.slice(0, 200)}`,
  );
}

function hostOf(origin: string): string {
  return URL.canParse(origin) ? new URL(origin).hostname : "";
}
