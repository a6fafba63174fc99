// How long the machine itself stood still, told by a queue of its own: what comes late for that reason alone is no finding.
import type { World } from "./world.ts";
import { sleep } from "./world.ts";

const BEAT_MS = 250;
/** An answer after this time is as usual: a commit, a restart of the broker, an object that dies. */
const USUAL_MS = 500;

/** Publishes to a queue beside the traffic, and measures the longest wait for a confirm of each round (`world.stalledMs`). */
export class Stalls {
  readonly #world: World;
  #running = true;

  constructor(world: World) {
    this.#world = world;
    void this.#run();
  }

  /** A round begins: what was before it is forgotten. */
  begin(): void {
    this.#world.stalledMs = 0;
  }

  stop(): void {
    this.#running = false;
  }

  async #run(): Promise<void> {
    const { broker } = this.#world;
    while (this.#running) {
      const beganMs = performance.now();
      // A broker that is down refuses at once: that is no stall.
      await fetch(`${broker.url}/v1/queues/probe/messages`, {
        method: "POST",
        body: "1",
        headers: { "content-type": "application/json", "dunlin-ttl-ms": "1" },
      }).then(
        (response) => response.arrayBuffer(),
        () => undefined,
      );
      await sleep(BEAT_MS);
      const lateMs = performance.now() - beganMs - BEAT_MS - USUAL_MS;
      if (lateMs <= this.#world.stalledMs) continue;
      this.#world.stalledMs = lateMs;
      this.#world.counts["longest stall of the machine, ms"] = Math.max(
        this.#world.counts["longest stall of the machine, ms"] ?? 0,
        Math.round(lateMs),
      );
    }
  }
}
