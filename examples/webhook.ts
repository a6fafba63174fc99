// A receiver of webhooks that believes only what its queue has signed, as Standard Webhooks has it. Node's own modules are enough.
// Run it against a broker: npx node examples/webhook.ts http://127.0.0.1:8787
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

const broker = new URL(process.argv[2] ?? "http://127.0.0.1:8787");
const secret = `whsec_${Buffer.from("any bytes that both of them know").toString("base64")}`;
const MAX_AGE_SECONDS = 300;

/** Whether the request is from whom it says: the signature is over its id, its time and its body as they came. */
function isSigned(body: string, { id, timestamp, signatures }: Record<string, string>): boolean {
  if (Math.abs(Date.now() / 1_000 - Number(timestamp)) > MAX_AGE_SECONDS) return false;
  const key = Buffer.from(secret.slice("whsec_".length), "base64");
  const expected = createHmac("sha256", key).update(`${id}.${timestamp}.${body}`).digest();
  // Several stand there, parted by spaces, while a secret is being changed.
  return signatures!.split(" ").some((one) => {
    const given = Buffer.from(one.replace(/^v1,/, ""), "base64");
    return given.length === expected.length && timingSafeEqual(given, expected);
  });
}

const done = Promise.withResolvers<void>();
const seen = new Set<string>();
const server = createServer(async (request, response) => {
  let body = "";
  for await (const part of request) body += part;
  const header = (name: string) => String(request.headers[name] ?? "");
  const [id, timestamp, signatures] = ["id", "timestamp", "signature"].map((name) =>
    header(`webhook-${name}`),
  ) as [string, string, string];
  if (!isSigned(body, { id, timestamp, signatures })) return response.writeHead(401).end();
  // The id is the same for every attempt: keep it where the effect is, and nothing is done twice.
  if (!seen.has(id)) console.log(`message ${header("dunlin-seq")} of ${header("dunlin-queue")}: ${body}`);
  seen.add(id);
  response.writeHead(204).end();
  done.resolve();
});
await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`;
console.log(`without a signature: ${(await fetch(url, { method: "POST", body: "{}" })).status}`);

await fetch(new URL("/v1/queues/hooks/push", broker), {
  method: "PUT",
  body: JSON.stringify({ url, secret }),
});
await fetch(new URL("/v1/queues/hooks/messages", broker), {
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify({ order: 7 }),
});
await done.promise;
await fetch(new URL("/v1/queues/hooks/push", broker), { method: "DELETE" });
server.close();
