// What a queue pushes its messages to: a URL, or a handler in another Worker. As it is asked for, kept and shown.
import { type Refusal, refuse } from "../errors.ts";
import { MAX_PUSH_CONCURRENCY } from "../limits.ts";
import { type Infer, object } from "../schema.ts";

/** What `PUT …/push` takes: `url` or `service`. */
export const PUSH_FIELDS = object(
  {
    url: { type: "string", minLength: 1, maxLength: 2_048 },
    secret: { type: "string", minLength: 16, maxLength: 512 },
    headers: { type: "texts" },
    service: { type: "string", minLength: 1, maxLength: 64 },
    concurrency: { type: "integer", minimum: 1, maximum: MAX_PUSH_CONCURRENCY },
    timeoutMs: { type: "integer", minimum: 1_000, maximum: 300_000 },
  },
  [],
);

/** PERSISTED as JSON in the queue's books. */
export interface PushSpec {
  /** Where messages are posted, "" when a service takes them. */
  url: string;
  /** Signs what is posted; "" for no signature. */
  secret: string;
  /** Further headers of each request. */
  headers: Record<string, string>;
  /** Name of the binding of a Worker that takes them, "" for a URL. */
  service: string;
  /** Messages under way at most. */
  concurrency: number;
  /** How long an answer may take. */
  timeoutMs: number;
}

/** What a deployment allows. */
export interface PushRules {
  /** Hosts that may be called, separated by commas, `.example.com` for all below; undefined: any. */
  hosts: string | undefined;
  /** Whether a binding of this name is there. */
  hasService: (name: string) => boolean;
}

/** Bindings that may be called begin with this: no other of the Worker's can be reached by naming it. */
export const SERVICE_PREFIX = "HANDLER_";
/** Headers that the request has of its own. */
const OWN_HEADER = /^(content-(type|length)|host|connection|transfer-encoding|(webhook|dunlin)-.*)$/i;
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const DEFAULT_CONCURRENCY = 10;
const DEFAULT_TIMEOUT_MS = 30_000;

/**
 * Checks what was asked for.
 *
 * @example pushSpec({ url: "https://example.com/hook", secret: "whsec_…" }, rules)
 */
export function pushSpec(fields: Infer<typeof PUSH_FIELDS>, rules: PushRules): PushSpec | Refusal {
  const { url = "", secret = "", headers = {}, service = "" } = fields;
  const { concurrency = DEFAULT_CONCURRENCY, timeoutMs = DEFAULT_TIMEOUT_MS } = fields;
  if ((url === "") === (service === "")) return refuse("bad-field", "push needs one of url and service");
  const wrong =
    service === ""
      ? (checkUrl(url, rules.hosts) ?? checkHeaders(headers))
      : checkService(service, rules, secret !== "" || Object.keys(headers).length > 0);
  if (wrong !== undefined) return refuse("bad-field", wrong);
  return { url, secret, headers, service, concurrency, timeoutMs };
}

function checkUrl(text: string, hosts: string | undefined): string | undefined {
  if (!URL.canParse(text)) return `url must be a URL, got ${JSON.stringify(text.slice(0, 80))}`;
  const url = new URL(text);
  if (url.protocol !== "https:" && url.protocol !== "http:") {
    return `url must begin with https:// or http://, got ${url.protocol}`;
  }
  if (url.username !== "" || url.password !== "") return "url must not hold a name and password; use headers";
  return mayCall(url, hosts) ? undefined : `url: this broker does not call ${url.host}`;
}

/** Whether a deployment that names its hosts (PushRules) names this one. */
export function mayCall(url: URL, hosts: string | undefined): boolean {
  if (hosts === undefined) return true;
  const allowed = hosts.split(",").map((host) => host.trim().toLowerCase());
  return allowed.some((host) => (host.startsWith(".") ? url.hostname.endsWith(host) : url.host === host));
}

function checkHeaders(headers: Record<string, string>): string | undefined {
  for (const [name, value] of Object.entries(headers)) {
    if (!HEADER_NAME.test(name)) return `headers: ${JSON.stringify(name.slice(0, 80))} is no header's name`;
    if (OWN_HEADER.test(name)) return `headers: ${name} is set by the broker`;
    if (/[^\t\x20-\x7e\x80-\xff]/.test(value)) return `headers.${name} holds what no header can`;
  }
  return undefined;
}

function checkService(service: string, { hasService }: PushRules, extras: boolean): string | undefined {
  if (extras) return "secret and headers are for a url";
  if (!service.startsWith(SERVICE_PREFIX)) return `service must begin with ${SERVICE_PREFIX}, got ${service}`;
  return hasService(service) ? undefined : `service: nothing is bound as ${service}`;
}
