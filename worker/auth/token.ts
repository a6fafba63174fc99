// From a token to a principal. Knows nothing of HTTP or frames; permission.ts decides what the principal may do.
import {
  createRemoteJWKSet,
  decodeProtectedHeader,
  errors,
  type JWTPayload,
  jwtVerify,
  type RemoteJWKSet,
} from "jose";
import { type Refusal, refuse } from "../errors.ts";
import { ANYONE, type Principal, principalOf } from "./principal.ts";

/** The variables that decide who is accepted. */
export interface AuthEnv {
  DUNLIN_AUTH_SECRET?: string;
  DUNLIN_JWKS_URL?: string;
  DUNLIN_OPEN?: string;
}

/** Clocks differ: a token is taken as valid this long beyond its times. */
const CLOCK_TOLERANCE_SECONDS = 5;
const SECRET_ALGORITHMS = ["HS256"];
const KEY_SET_ALGORITHMS = [
  "ES256",
  "ES384",
  "ES512",
  "EdDSA",
  "Ed25519",
  "PS256",
  "PS384",
  "PS512",
  "RS256",
  "RS384",
  "RS512",
];

// What is costly to make and the same for every request of this isolate.
let secretKey: { secret: string; key: CryptoKey } | undefined;
let keySet: { url: string; keys: RemoteJWKSet } | undefined;

/** Whether tokens are checked at all. */
export function authConfigured(env: AuthEnv): boolean {
  return Boolean(env.DUNLIN_AUTH_SECRET || env.DUNLIN_JWKS_URL);
}

/**
 * Tells who holds a token.
 *
 * @param token a JSON Web Token, or undefined when none was given
 * @returns the principal; `token-expired`; `unauthenticated` with the reason; `unavailable` when the key set cannot be had
 * @example const who = await authenticate(requestToken(request), env); if (isRefusal(who)) return problem(who);
 */
export async function authenticate(token: string | undefined, env: AuthEnv): Promise<Principal | Refusal> {
  if (!authConfigured(env)) {
    if (env.DUNLIN_OPEN === "loopback") return ANYONE;
    return refuse(
      "unauthenticated",
      "this broker has no authentication configured and is not limited to a loopback address: " +
        "set DUNLIN_AUTH_SECRET or DUNLIN_JWKS_URL",
    );
  }
  if (!token) return refuse("unauthenticated", "a token is required");
  try {
    return principalOf(await verify(token, env));
  } catch (error) {
    return refusalOf(error);
  }
}

async function verify(token: string, env: AuthEnv): Promise<JWTPayload> {
  const { DUNLIN_AUTH_SECRET: secret, DUNLIN_JWKS_URL: url } = env;
  const clockTolerance = CLOCK_TOLERANCE_SECONDS;
  // The token's own word on its algorithm only chooses between the two ways that are configured.
  if (secret && (!url || decodeProtectedHeader(token).alg === "HS256")) {
    const key = await keyOf(secret);
    return (await jwtVerify(token, key, { algorithms: SECRET_ALGORITHMS, clockTolerance })).payload;
  }
  return (await jwtVerify(token, keysAt(url!), { algorithms: KEY_SET_ALGORITHMS, clockTolerance })).payload;
}

async function keyOf(secret: string): Promise<CryptoKey> {
  if (secretKey?.secret === secret) return secretKey.key;
  const bytes = new TextEncoder().encode(secret);
  const key = await crypto.subtle.importKey("raw", bytes, { name: "HMAC", hash: "SHA-256" }, false, [
    "verify",
  ]);
  secretKey = { secret, key };
  return key;
}

function keysAt(url: string): RemoteJWKSet {
  if (keySet?.url !== url) keySet = { url, keys: createRemoteJWKSet(new URL(url)) };
  return keySet.keys;
}

/** The messages are ours: a library's may quote the token. */
function refusalOf(error: unknown): Refusal {
  if (error instanceof errors.JWTExpired) {
    return refuse("token-expired", `the token expired at ${error.payload.exp} s since 1970`);
  }
  if (error instanceof errors.JWTClaimValidationFailed) {
    return refuse("unauthenticated", `the token's claim ${error.claim} does not hold (${error.reason})`);
  }
  if (error instanceof errors.JOSEAlgNotAllowed) {
    return refuse(
      "unauthenticated",
      "the token is signed with an algorithm that this broker does not accept",
    );
  }
  if (error instanceof errors.JWSSignatureVerificationFailed) {
    return refuse("unauthenticated", "the token's signature is wrong");
  }
  if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys) {
    return refuse("unauthenticated", "the key set at DUNLIN_JWKS_URL has no single key that fits the token");
  }
  if (isMalformed(error)) return refuse("unauthenticated", "the token is not a signed JSON Web Token");
  console.error("verifying a token failed:", error instanceof Error ? error.message : error);
  return refuse(
    "unavailable",
    "tokens cannot be verified now: the key set at DUNLIN_JWKS_URL is out of reach",
  );
}

function isMalformed(error: unknown): boolean {
  return (
    error instanceof errors.JWSInvalid ||
    error instanceof errors.JWTInvalid ||
    error instanceof errors.JOSENotSupported ||
    // What jose throws for text that has no protected header at all.
    (error instanceof TypeError && /Invalid Token or Protected Header/.test(error.message))
  );
}
