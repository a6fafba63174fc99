// Who asks, and what the token lets them do: the claims of a token, checked and in the broker's words.
import { checkNamespace } from "../address.ts";
import { type Refusal, refuse } from "../errors.ts";
import { check, type Infer, object } from "../schema.ts";

/** What a permission can allow. */
export type Action = "publish" | "subscribe" | "consume" | "manage";

/** Actions on the addresses that a pattern covers: `queue:orders`, `topic:news/#` or `*`. */
export interface Permission {
  do: string[];
  on: string;
}

/** Whoever sends a request or holds a connection. Plain data: the router hands it to gateways as JSON. */
export interface Principal {
  /** Claim `sub`, "" when the token has none. */
  subject: string;
  /** Claim `ns`. */
  namespace: string | undefined;
  /** When the token expires, ms since the epoch. */
  expiresAt: number | undefined;
  allow: Permission[] | "everything";
}

/** Everyone, on a broker that only this machine's programs can reach. */
export const ANYONE: Principal = {
  subject: "anonymous",
  namespace: undefined,
  expiresAt: undefined,
  allow: "everything",
};

const MAX_TEXT = 1_024;
/** A gateway keeps the principal beside the socket, where the platform leaves 16 KiB for everything. */
const MAX_PRINCIPAL_BYTES = 8_192;

const CLAIMS = object(
  {
    sub: { type: "string", maxLength: MAX_TEXT },
    ns: { type: "string", maxLength: MAX_TEXT },
    exp: { type: "number", minimum: 0, maximum: Number.MAX_SAFE_INTEGER },
    dunlin: object(
      {
        allow: {
          type: "array",
          maxItems: 1_000,
          items: object(
            {
              // Words that this version does not know allow nothing, so that newer tokens are not turned away.
              do: { type: "array", maxItems: 16, items: { type: "string", maxLength: 64 } },
              on: { type: "string", minLength: 1, maxLength: MAX_TEXT },
            },
            ["do", "on"],
          ),
        },
      },
      [],
    ),
  },
  [],
);

/**
 * Reads the claims of a token whose signature was verified.
 *
 * @returns the principal, or `unauthenticated` with the claim that cannot be read
 * @example principalOf({ sub: "ann", dunlin: { allow: [{ do: ["publish"], on: "queue:orders" }] } })
 */
export function principalOf(claims: unknown): Principal | Refusal {
  const wrong = check(CLAIMS, claims, "");
  if (wrong !== undefined) return malformed(wrong);
  const { sub = "", ns, exp, dunlin } = claims as Infer<typeof CLAIMS>;
  if (ns !== undefined) {
    const refusal = checkNamespace(ns);
    if (refusal) return malformed(`ns: ${refusal.message}`);
  }
  const allow = dunlin?.allow ?? [];
  for (const { on } of allow) {
    const refusal = checkPattern(on);
    if (refusal) return refusal;
  }
  const expiresAt = exp === undefined ? undefined : exp * 1_000;
  const principal = { subject: sub, namespace: ns, expiresAt, allow };
  const bytes = new TextEncoder().encode(JSON.stringify(principal)).length;
  if (bytes <= MAX_PRINCIPAL_BYTES) return principal;
  return malformed(`they have at most ${MAX_PRINCIPAL_BYTES} bytes as JSON, got ${bytes}`);
}

function checkPattern(on: string): Refusal | undefined {
  if (on === "*") return undefined;
  if (!on.startsWith("queue:") && !on.startsWith("topic:")) {
    return malformed(`dunlin.allow: on must be queue:NAME, topic:FILTER or *, got ${JSON.stringify(on)}`);
  }
  const levels = on.slice("queue:".length).split("/");
  const sound = levels.every((level, index) => {
    if (level === "#") return index === levels.length - 1;
    return level === "+" || !/[+#]/.test(level);
  });
  if (sound) return undefined;
  return malformed(
    `dunlin.allow: + stands for one whole level and # for the last ones, got ${JSON.stringify(on)}`,
  );
}

function malformed(what: string): Refusal {
  return refuse("unauthenticated", `the token's claims are malformed: ${what}`);
}
