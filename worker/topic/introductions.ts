// What happens before the first publish to a topic: the Directory is told of it, and tells which filters concern this object.
import { splitObjectName } from "../address.ts";
import { directoryObject, type Env } from "../env.ts";
import type { Refusal } from "../errors.ts";
import type { Topics } from "./topics.ts";

/** Introduces topics to the Directory, those of all callers that wait in one call. */
export class Introductions {
  readonly #env: Env;
  readonly #objectName: string;
  readonly #topics: () => Topics;
  /** Topics for the next call. */
  #wanted = new Set<string>();
  /** The call under way; which topics it refused. */
  #asking: Promise<Map<string, Refusal>> | undefined;
  /** What the last call refused. */
  #last = new Map<string, Refusal>();

  constructor(env: Env, objectName: string, topics: () => Topics) {
    this.#env = env;
    this.#objectName = objectName;
    this.#topics = topics;
  }

  /**
   * Makes sure that the Directory knows the topics of these records. Callers go on in the order in which they came.
   *
   * @returns the topics that may not come into being
   */
  async introduce(packets: Uint8Array[]): Promise<Map<string, Refusal>> {
    const refused = new Map<string, Refusal>();
    for (;;) {
      const strangers = this.#strangers(packets);
      for (const topic of refused.keys()) strangers.delete(topic);
      if (strangers.size === 0) return refused;
      for (const topic of strangers) this.#wanted.add(topic);
      // Those that came before this caller are asked for first.
      if (this.#asking !== undefined) await this.#asking.catch(() => undefined);
      else {
        const wanted = [...this.#wanted];
        this.#wanted.clear();
        await this.#ask(wanted, false);
      }
      for (const topic of strangers) {
        const refusal = this.#last.get(topic);
        if (refusal !== undefined) refused.set(topic, refusal);
      }
    }
  }

  /** Makes sure that the Directory knows the topics of another object's messages: that object was allowed to send them. */
  async introduceTransferred(records: Uint8Array): Promise<void> {
    for (const topic of this.#strangers([records])) await this.declare(topic);
  }

  /** Introduces a topic that is being declared. */
  async declare(topic: string): Promise<Refusal | undefined> {
    while (this.#asking !== undefined) await this.#asking.catch(() => undefined);
    return (await this.#ask([topic], true)).get(topic);
  }

  #strangers(packets: Uint8Array[]): Set<string> {
    const found = new Set<string>();
    for (const records of packets) this.#topics().strangers(records, found);
    return found;
  }

  #ask(topics: string[], declared: boolean): Promise<Map<string, Refusal>> {
    this.#asking = this.#enter(topics, declared).finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #enter(names: string[], declared: boolean): Promise<Map<string, Refusal>> {
    const { namespace } = splitObjectName(this.#objectName);
    const { interests } = this.#topics();
    interests.beginEnter();
    try {
      const directory = directoryObject(this.#env, namespace);
      const {
        filters,
        refusal,
        refused = [],
      } = await directory.enterTopicObject(this.#objectName, names, declared);
      const refusals = new Map(refused.map((topic) => [topic, refusal!]));
      const entered = names.filter((topic) => !refusals.has(topic));
      this.#topics().entered(entered, filters, Date.now());
      this.#last = refusals;
      return refusals;
    } catch (error) {
      interests.enter(undefined);
      throw error;
    }
  }
}
