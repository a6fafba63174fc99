// A network between client and broker that can fall silent, as a phone's does: nothing is closed, nothing arrives.
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** A port that leads to the broker while the network is up. */
export interface Network {
  /** URL of the broker through it. */
  url: string;
  /** Ends every connection, without a word of the protocols above. */
  cut(): void;
  /** Nothing passes any more, and nobody is told: neither on open connections nor on new ones. */
  fallSilent(): void;
  /** New connections pass again; those from before stay silent for ever. */
  recover(): void;
  close(): Promise<void>;
}

/** Opens a port on loopback that leads to the broker's. */
export async function networkTo(brokerPort: number): Promise<Network> {
  const sockets = new Set<Socket>();
  let silent = false;
  const server = createServer((near) => {
    sockets.add(near);
    near.on("error", () => near.destroy());
    near.on("close", () => sockets.delete(near));
    if (silent) return;
    const far = connect(brokerPort, "127.0.0.1");
    sockets.add(far);
    far.on("error", () => near.destroy());
    far.on("close", () => {
      sockets.delete(far);
      near.destroy();
    });
    near.on("close", () => far.destroy());
    near.pipe(far);
    far.pipe(near);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    cut() {
      for (const socket of sockets) socket.resetAndDestroy();
    },
    fallSilent() {
      silent = true;
      for (const socket of sockets) {
        socket.unpipe();
        socket.pause();
      }
    },
    recover() {
      silent = false;
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
