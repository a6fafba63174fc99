// Runs Mosquitto as a second broker under the tests of MQTT (MQTT_TARGET=mosquitto), to see that the tests themselves are right.
// A WebSocket server in front of it stands for the listener that not every build of it has. Not used otherwise.
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WebSocketServer } from "ws";

const TRIES = 200;

/** A running Mosquitto. */
export interface Mosquitto {
  /** `ws://127.0.0.1:PORT/mqtt` */
  url: string;
  stop(): Promise<void>;
}

/** Starts Mosquitto on a free port of loopback, open to everyone, with a WebSocket in front. */
export async function startMosquitto(): Promise<Mosquitto> {
  const folder = await mkdtemp(join(tmpdir(), "mosquitto-"));
  const port = await freePort();
  const config = [
    `listener ${port} 127.0.0.1`,
    "socket_domain ipv4",
    "allow_anonymous true",
    "max_keepalive 60",
    "max_packet_size 1100000",
    "max_topic_alias 16",
  ];
  await writeFile(join(folder, "m.conf"), `${config.join("\n")}\n`);
  const child = spawn("mosquitto", ["-c", join(folder, "m.conf")], { stdio: "ignore" });
  const ended = new Promise((resolve) => child.once("close", resolve));
  (await reach(port)).destroy();
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  server.on("connection", (socket) => {
    const tcp = connect(port, "127.0.0.1");
    tcp.setNoDelay(true);
    tcp.on("data", (data) => socket.send(data));
    tcp.on("error", () => socket.terminate());
    tcp.on("close", () => socket.close(1000));
    socket.on("message", (data: Buffer) => tcp.write(data));
    socket.on("close", () => tcp.destroy());
  });
  await new Promise((resolve) => server.once("listening", resolve));
  return {
    url: `ws://127.0.0.1:${(server.address() as { port: number }).port}/mqtt`,
    async stop() {
      server.close();
      child.kill("SIGKILL");
      await ended;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function reach(port: number): Promise<Socket> {
  for (let tries = 0; tries < TRIES; tries++) {
    const socket = connect(port, "127.0.0.1");
    const open = await new Promise((resolve) => {
      socket.once("connect", () => resolve(true));
      socket.once("error", () => resolve(false));
    });
    if (open) return socket;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error("mosquitto does not answer");
}

/** A port of loopback that nobody listens on now. */
function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, "127.0.0.1", () => {
      const address = server.address() as { port: number };
      server.close(() => resolve(address.port));
    });
  });
}
