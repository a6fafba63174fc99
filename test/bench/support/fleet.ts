// The targets of one table while they run: started one by one, each with a folder of its own, and all stopped whatever happens.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Running, Target } from "../targets/target.ts";
import type { Participant } from "./report.ts";

/** Targets that were started and must be stopped. */
export class Fleet<R extends Running> {
  readonly #folder: string;
  readonly #running = new Map<string, R>();
  readonly #extra = new Set<R>();

  /** `folder` exists and is the fleet's own. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Starts targets and tells on the terminal what runs; one that cannot is left out. */
  async start(targets: readonly Target<R>[]): Promise<Participant[]> {
    const participants: Participant[] = [];
    for (const target of targets) {
      const { name, durability } = target;
      const data = join(this.#folder, name);
      await mkdir(data);
      const started = await target.start(data);
      if ("skipped" in started) {
        console.log(`${name}: skipped, ${started.skipped}`);
        participants.push({ name, durability, skipped: started.skipped });
        continue;
      }
      this.#running.set(name, started);
      participants.push({ name, durability, version: started.version });
      console.log(`${name}: ${started.version}; ${durability}`);
    }
    return participants;
  }

  /** What runs, by name. */
  get running(): ReadonlyMap<string, R> {
    return this.#running;
  }

  /** Runs something against a second, fresh instance of a target, and stops that afterwards. */
  async withFresh<T>(target: Target<R>, use: (running: R) => Promise<T>): Promise<T> {
    const data = join(this.#folder, `${target.name}-fresh-${Date.now()}`);
    await mkdir(data);
    const started = await target.start(data);
    if ("skipped" in started) throw new Error(started.skipped);
    this.#extra.add(started);
    try {
      return await use(started);
    } finally {
      this.#extra.delete(started);
      await started.stop();
    }
  }

  async stop(): Promise<void> {
    const stopping = [...this.#running.values(), ...this.#extra];
    this.#running.clear();
    this.#extra.clear();
    await Promise.all(stopping.map((target) => target.stop()));
  }
}
