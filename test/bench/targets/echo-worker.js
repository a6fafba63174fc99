// The yardsticks' Worker. Echo: one object that returns every frame on a hibernating WebSocket. Fan: one that sends a publisher's
// frame, unread, to every subscriber, and knows of MQTT only how to let its clients in. Nothing is cheaper on this runtime.
import { DurableObject } from "cloudflare:workers";

const CONNECT = 1;
const PUBLISH = 3;
const CONNACK = new Uint8Array([0x20, 2, 0, 0]);

export class Echo extends DurableObject {
  fetch() {
    const [client, server] = Object.values(new WebSocketPair());
    this.ctx.acceptWebSocket(server);
    return new Response(null, { status: 101, webSocket: client });
  }

  webSocketMessage(socket, frame) {
    socket.send(frame);
  }

  webSocketClose() {}
}

export class Fan extends DurableObject {
  #subscribers = this.ctx.getWebSockets().filter((socket) => socket.deserializeAttachment() !== null);

  fetch() {
    const [client, server] = Object.values(new WebSocketPair());
    this.ctx.acceptWebSocket(server);
    return new Response(null, {
      status: 101,
      webSocket: client,
      headers: { "sec-websocket-protocol": "mqtt" },
    });
  }

  webSocketMessage(socket, frame) {
    const bytes = new Uint8Array(frame);
    const type = bytes[0] >> 4;
    if (type === PUBLISH) for (const subscriber of this.#subscribers) subscriber.send(frame);
    else if (type === CONNECT) socket.send(CONNACK);
    else {
      socket.serializeAttachment("subscriber");
      this.#subscribers.push(socket);
      // SUBACK: the packet id of the SUBSCRIBE, and QoS 0.
      socket.send(new Uint8Array([0x90, 3, bytes[2], bytes[3], 0]));
    }
  }

  webSocketClose(socket) {
    this.#subscribers = this.#subscribers.filter((one) => one !== socket);
  }
}

export default {
  fetch(request, env) {
    // A topic of the fan is a path: each measurement has an object of its own.
    const { pathname } = new URL(request.url);
    return pathname === "/"
      ? env.ECHO.getByName("echo").fetch(request)
      : env.FAN.getByName(pathname).fetch(request);
  },
};
