// The yardstick's Worker: one object that returns every frame on a hibernating WebSocket. Nothing is cheaper on this runtime.
import { DurableObject } from "cloudflare:workers";

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

export default {
  fetch: (request, env) => env.ECHO.getByName("echo").fetch(request),
};
