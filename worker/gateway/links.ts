// The links of a gateway, one for each queue and Topic object in use.
import type { Env } from "../env.ts";
import type { Applied } from "../queue/rpc.ts";
import { ObjectLink } from "./object-link.ts";

/** Links kept at most before those that are idle are let go. */
const MAX_IDLE_LINKS = 1_000;

/** What the links need of their gateway. */
export interface LinksOwner {
  gateway: string;
  /** Deliveries of a queue. */
  deliver: (queueObject: string, packet: Uint8Array) => void;
  /** An answer of a queue was lost. */
  lost: (queueObject: string) => void;
  /** Messages of topics. */
  topicDeliver: (topicObject: string, packet: Uint8Array) => void;
  /** Replies for this gateway's own clients. */
  takeReplies: (namespace: string, packet: Uint8Array) => Promise<Applied>;
  afterAnswer: () => void;
}

/** Finds links by the name of the object, and flushes those that were used. */
export class Links {
  readonly #env: Env;
  readonly #owner: LinksOwner;
  readonly #queues = new Map<string, ObjectLink>();
  readonly #topics = new Map<string, ObjectLink>();
  readonly #replies = new Map<string, ObjectLink>();
  readonly #used = new Set<ObjectLink>();
  #calls = 0;

  constructor(env: Env, owner: LinksOwner) {
    this.#env = env;
    this.#owner = owner;
  }

  /** The link to a queue's object; it is flushed with the next `flush`. */
  queue(target: string): ObjectLink {
    const { gateway, deliver, lost, afterAnswer } = this.#owner;
    return this.#find(this.#queues, target, () => ({
      ...{ gateway, afterAnswer, calling: this.#calling },
      stub: () => this.#env.QUEUE.getByName(target),
      deliver: (packet) => deliver(target, packet),
      lost: () => lost(target),
    }));
  }

  /** The link to a Topic object; it is flushed with the next `flush`. */
  topic(target: string): ObjectLink {
    const { gateway, topicDeliver, afterAnswer } = this.#owner;
    return this.#find(this.#topics, target, () => ({
      ...{ gateway, afterAnswer, calling: this.#calling },
      stub: () => this.#env.TOPIC.getByName(target),
      deliver: (packet) => topicDeliver(target, packet),
      // Live messages that were lost with an answer are seen as a gap in their topic's seq.
      lost: () => undefined,
    }));
  }

  /** The link to the gateway of who asked, for replies in a namespace; it is flushed with the next `flush`. */
  replies(namespace: string, target: string): ObjectLink {
    const { gateway, takeReplies, afterAnswer } = this.#owner;
    const apply = (packet: Uint8Array) =>
      target === gateway
        ? takeReplies(namespace, packet)
        : this.#env.GATEWAY.getByName(target).takeReplies(namespace, packet);
    return this.#find(this.#replies, `${namespace}:${target}`, () => ({
      ...{ gateway, afterAnswer, calling: this.#calling },
      stub: () => ({ apply }),
      deliver: () => undefined,
      lost: () => undefined,
    }));
  }

  /** Whether calls are under way. */
  get busy(): boolean {
    return this.#calls > 0;
  }

  flush(): void {
    for (const link of this.#used) link.flush();
    this.#used.clear();
  }

  readonly #calling = (by: 1 | -1): void => {
    this.#calls += by;
  };

  #find(
    links: Map<string, ObjectLink>,
    target: string,
    owner: () => ConstructorParameters<typeof ObjectLink>[0],
  ): ObjectLink {
    let link = links.get(target);
    if (link === undefined) {
      if (links.size >= MAX_IDLE_LINKS) dropIdle(links);
      link = new ObjectLink(owner());
      links.set(target, link);
    }
    this.#used.add(link);
    return link;
  }
}

function dropIdle(links: Map<string, ObjectLink>): void {
  for (const [target, link] of links) if (link.idle) links.delete(target);
}
