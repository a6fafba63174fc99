// A broker without tokens, and the pages of other sites that the browser on its machine may have open.
import { request } from "node:http";
import { describe, expect } from "vitest";
import WebSocket from "ws";
import { withBroker } from "./harness.ts";

const it = withBroker();

describe("without tokens", () => {
  it("[AUT12] a call with the origin of another site is refused, one of this machine is served", async ({
    world,
  }) => {
    const call = (origin: string) =>
      world.call("POST", "/v1/queues/q/messages", { a: 1 }, { origin }).then(({ status }) => status);
    expect(await call("https://example.com")).toBe(403);
    expect(await call("null")).toBe(403);
    expect(await call("http://127.0.0.1.example.com")).toBe(403);
    expect(await call("http://localhost:5173")).toBe(201);
    expect((await world.stats("q")).accepted).toBe(1);
  });

  it("[AUT12] a call under another name is refused", async ({ world }) => {
    const { port } = new URL(world.broker.url);
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const headers = { host: `evil.example:${port}` };
      request({ host: "127.0.0.1", port, path: "/v1/queues", headers }, (answer) =>
        resolve(answer.statusCode),
      )
        .on("error", reject)
        .end();
    });
    expect(status).toBe(403);
  });

  it("[AUT12] a socket that another site's page opens is closed with 4403", async ({ world }) => {
    const socket = new WebSocket(world.broker.wsUrl, "dunlin.v1.json", { origin: "https://example.com" });
    const code = await new Promise((resolve, reject) => socket.on("close", resolve).on("error", reject));
    expect(code).toBe(4403);
  });
});
