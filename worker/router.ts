// The front door: finds out who calls, and hands each path to who answers it. Holds no state.
import { Hono } from "hono";
import { cors } from "hono/cors";
import { checkLocal } from "./auth/local.ts";
import { resolveNamespace } from "./auth/namespace.ts";
import { ANYONE } from "./auth/principal.ts";
import { requestToken } from "./auth/request.ts";
import { authenticate } from "./auth/token.ts";
import type { Env } from "./env.ts";
import { isRefusal, refuse } from "./errors.ts";
import { json, problem } from "./http/answer.ts";
import type { Call, Handler } from "./http/call.ts";
import { ROUTES } from "./http/routes.ts";
import { JSON_PROTOCOL, MQTT_PROTOCOLS, openSocket } from "./http/socket.ts";

type App = { Bindings: Env; Variables: { call: Call } };

const PREFLIGHT_SECONDS = 86_400;

/**
 * The Worker's HTTP surface.
 *
 * @example export default { fetch: router.fetch };
 */
// Paths are matched as they came, still encoded: names may hold any character, and are decoded once, where they are read.
export const router = new Hono<App>({ getPath: (request) => new URL(request.url).pathname });

// Tokens travel in headers and never in cookies, so that another site's page has nothing to borrow.
const openToPages = cors({
  origin: "*",
  allowMethods: ["GET", "POST", "PUT", "DELETE"],
  // The reply to a request brings headers of any name.
  exposeHeaders: ["*"],
  maxAge: PREFLIGHT_SECONDS,
});
router.use("/client.js", openToPages);
router.use("/durable.js", openToPages);
router.use("/tabs.js", openToPages);
router.use("/presence.js", openToPages);
router.use("/v1/*", openToPages);
router.use("/v1/*", async (c, next) => {
  const request = c.req.raw;
  const principal = await authenticate(requestToken(request), c.env);
  if (isRefusal(principal)) return problem(principal);
  const foreign = principal === ANYONE ? checkLocal(request) : undefined;
  if (foreign) return problem(foreign);
  const url = new URL(request.url);
  const namespace = resolveNamespace(principal, url.searchParams.get("ns"));
  if (isRefusal(namespace)) return problem(namespace);
  c.set("call", { request, url, env: c.env, principal, namespace });
  return next();
});

for (const [path, handlers] of Object.entries(ROUTES)) {
  for (const [method, handler] of Object.entries(handlers)) {
    router.on(method, path, async (c) => answer(handler, c.get("call")));
  }
  allowOnly(path, Object.keys(handlers));
}

router.get("/ws", (c) => openSocket(c.req.raw, c.env, [JSON_PROTOCOL]));
router.get("/mqtt", (c) => openSocket(c.req.raw, c.env, MQTT_PROTOCOLS));
allowOnly("/mqtt", ["GET"]);
allowOnly("/ws", ["GET"]);
router.get("/healthz", () => json({ status: "ok" }));
allowOnly("/healthz", ["GET"]);

router.notFound(async (c) => {
  // A deployment serves its assets before it calls this Worker; a local run asks here.
  const asset = c.req.method === "GET" ? await c.env.ASSETS?.fetch(c.req.raw) : undefined;
  if (asset?.ok) return asset;
  return problem(refuse("not-found", `there is nothing at ${c.req.path.slice(0, 200)}`));
});
router.onError((error) => {
  console.error("a call failed:", error);
  return problem(refuse("internal", "the broker failed on this call"));
});

async function answer(handler: Handler, call: Call): Promise<Response> {
  const outcome = await handler(call);
  return isRefusal(outcome) ? problem(outcome) : outcome;
}

/** Every other method of a path that exists. */
function allowOnly(path: string, methods: string[]): void {
  const allow = [...methods, ...(methods.includes("GET") ? ["HEAD"] : [])].join(", ");
  router.all(path, (c) =>
    problem(refuse("unknown-op", `${c.req.method} is not among the methods of this path: ${allow}`), {
      status: 405,
      headers: { allow },
    }),
  );
}
