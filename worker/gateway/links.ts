// The links of a gateway, one for each queue in use.
import type { Env } from "../env.ts";
import { QueueLink } from "./queue-link.ts";

/** Links kept at most before those that are idle are let go. */
const MAX_IDLE_LINKS = 1_000;

/** What the links need of their gateway. */
export interface LinksOwner {
  gateway: string;
  deliver: (queueObject: string, packet: Uint8Array) => void;
  lost: (queueObject: string) => void;
  afterAnswer: () => void;
}

/** Finds links by the name of the queue's object, and flushes those that were used. */
export class Links {
  readonly #env: Env;
  readonly #owner: LinksOwner;
  readonly #links = new Map<string, QueueLink>();
  readonly #used = new Set<QueueLink>();

  constructor(env: Env, owner: LinksOwner) {
    this.#env = env;
    this.#owner = owner;
  }

  /** The link to a queue; it is flushed with the next `flush`. */
  to(target: string): QueueLink {
    let link = this.#links.get(target);
    if (link === undefined) {
      this.#dropIdle();
      const { gateway, deliver, lost, afterAnswer } = this.#owner;
      link = new QueueLink({
        gateway,
        afterAnswer,
        stub: () => this.#env.QUEUE.getByName(target),
        deliver: (packet) => deliver(target, packet),
        lost: () => lost(target),
      });
      this.#links.set(target, link);
    }
    this.#used.add(link);
    return link;
  }

  flush(): void {
    for (const link of this.#used) link.flush();
    this.#used.clear();
  }

  #dropIdle(): void {
    if (this.#links.size < MAX_IDLE_LINKS) return;
    for (const [target, link] of this.#links) if (link.idle) this.#links.delete(target);
  }
}
