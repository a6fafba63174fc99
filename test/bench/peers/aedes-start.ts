// Runs aedes, an MQTT broker for Node.js, behind a WebSocket listener of `ws`, both with their defaults.
import type { AddressInfo } from "node:net";
import { Aedes } from "aedes";
import { createWebSocketStream, WebSocketServer } from "ws";

const broker = await Aedes.createBroker();
const server = new WebSocketServer({ host: "127.0.0.1", port: 0, path: "/mqtt", perMessageDeflate: false });
server.on("connection", (socket, request) => {
  const stream = createWebSocketStream(socket);
  // A client that is gone makes its stream fail; the broker sees the close as well.
  stream.on("error", () => {});
  broker.handle(stream, request);
});
server.on("listening", () => {
  console.log(`ready on http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
