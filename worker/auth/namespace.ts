// Which namespace a request is about: the token decides, the URL may only agree.
import { checkNamespace } from "../address.ts";
import { type Refusal, refuse } from "../errors.ts";
import type { Principal } from "./principal.ts";

/** Where requests go that name no namespace. */
export const DEFAULT_NAMESPACE = "default";

/**
 * Resolves the namespace of a request or connection.
 *
 * @param urlNamespace `?ns=` of the URL; null or "" when it has none
 * @returns the namespace, `wrong-namespace` when URL and token differ, `bad-address` when there can be no such namespace
 */
export function resolveNamespace(principal: Principal, urlNamespace: string | null): string | Refusal {
  const claimed = principal.namespace;
  if (!urlNamespace) return claimed ?? DEFAULT_NAMESPACE;
  const refusal = checkNamespace(urlNamespace);
  if (refusal) return refusal;
  if (claimed !== undefined && claimed !== urlNamespace) {
    return refuse("wrong-namespace", `the token is for another namespace than ?ns=${urlNamespace}`);
  }
  return urlNamespace;
}
