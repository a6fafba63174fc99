// What leaves a queue for other objects: deliveries to gateways, questions whether consumers still live, dead letters to other queues.
import { queueObjectName, splitObjectName } from "../address.ts";
import { type Env, topicTarget } from "../env.ts";
import type { GatewayRpc } from "../gateway/rpc.ts";
import { DeliveryView, type DeliveryWriter } from "../link/deliveries.ts";
import type { OutboxRow, QueueStore } from "../log/store.ts";
import type { TurnCommand } from "./carry-out.ts";
import type { Consumer } from "./consumers.ts";
import { destinationOf, laneOf } from "./destination.ts";
import { PUSH_GATEWAY } from "./push-target.ts";

const RETRY_MS = 1_000;
const MAX_RETRY_MS = 60_000;
/** Lanes that fail in one try before the others wait for the next one too. */
const MAX_FAILED_LANES = 50;
/** Times a gateway is asked for its consumers before they count as gone. */
const PROBES = 6;

/** The calls of one queue to its neighbours; what they answer comes back as commands. */
export class Outbound {
  readonly #env: Env;
  readonly #objectName: string;
  readonly #submit: (commands: TurnCommand[]) => Promise<unknown>;
  readonly #gateways = new Map<string, GatewayRpc>();
  /** Marks the packets of this life of the object; their last number by gateway. */
  readonly #stream = Date.now();
  readonly #numbers = new Map<string, number>();
  #sending: Promise<void> | undefined;
  /** No row with an id below this is left, and below which id there may be one. */
  #sentUpTo = 0;
  #wanted = 0;
  #retryMs = RETRY_MS;
  /** When the outbox is tried again after a failure, ms since the epoch. */
  retryAt = Number.POSITIVE_INFINITY;

  constructor(env: Env, objectName: string, submit: (commands: TurnCommand[]) => Promise<unknown>) {
    this.#env = env;
    this.#objectName = objectName;
    this.#submit = submit;
  }

  /** The packet of deliveries for a gateway, with its number in the order of all of them. */
  packet(gateway: string, writer: DeliveryWriter | undefined): Uint8Array | undefined {
    if (writer === undefined) return undefined;
    const number = (this.#numbers.get(gateway) ?? 0) + 1;
    this.#numbers.set(gateway, number);
    return writer.take(this.#stream, number);
  }

  /** Sends deliveries by a call of its own, when there is no answer that they could ride on. */
  deliver(gateway: string, writer: DeliveryWriter): void {
    const packet = this.packet(gateway, writer)!;
    this.#gateway(gateway)
      .deliver(this.#objectName, packet)
      .catch(() => this.#recover(gateway, refsOf(packet)));
  }

  /** Asks the gateways of these consumers which are gone, and takes those away. */
  probe(consumers: Consumer[]): void {
    for (const [gateway, refs] of byGateway(consumers)) this.#probe(gateway, refs, false);
  }

  /** Tells the gateways of these consumers that the queue is no more. */
  tellDeleted(consumers: Consumer[]): void {
    for (const [gateway, refs] of byGateway(consumers)) {
      this.#gateway(gateway)
        .queueDeleted(this.#objectName, refs)
        .catch(() => this.#gateways.delete(gateway));
    }
  }

  /**
   * Sends what is in the outbox, one row after the other, until it is empty. A lane (destination.ts) of which a call fails is
   * passed over until the next try.
   *
   * @param next the id that the queue gives next: all rows have lower ones
   */
  send(store: QueueStore, next: number): void {
    this.#wanted = next;
    const waiting = this.retryAt < Number.POSITIVE_INFINITY && Date.now() < this.retryAt;
    if (next > this.#sentUpTo && !waiting) this.#sending ??= this.#sendAndRetry(store);
  }

  /** Sends what is in the outbox; false when something is left. */
  async drained(store: QueueStore, next: number): Promise<boolean> {
    this.retryAt = Number.POSITIVE_INFINITY;
    this.send(store, next);
    await this.#sending;
    return store.nextOutbox() === undefined;
  }

  async #sendAndRetry(store: QueueStore): Promise<void> {
    this.retryAt = Number.POSITIVE_INFINITY;
    try {
      await this.#sendAll(store);
      this.#retryMs = RETRY_MS;
    } catch {
      this.retryAt = Date.now() + this.#retryMs;
      this.#retryMs = Math.min(this.#retryMs * 2, MAX_RETRY_MS);
      // An empty turn arms the alarm for the retry.
      this.#submit([]).catch(() => undefined);
    }
    this.#sending = undefined;
    // Rows that were added after the last look, when this was still under way.
    if (this.retryAt === Number.POSITIVE_INFINITY) this.send(store, this.#wanted);
  }

  /** @throws Error when something could not be sent */
  async #sendAll(store: QueueStore): Promise<void> {
    // What waits for one queue holds up no other.
    const failed: string[] = [];
    for (;;) {
      const wanted = this.#wanted;
      const row = failed.length < MAX_FAILED_LANES ? store.nextOutbox(failed) : undefined;
      if (row !== undefined) {
        await this.#sendRow(row).catch(() => failed.push(laneOf(row.target)));
        continue;
      }
      if (failed.length > 0) throw new Error(`not sent to ${failed.length} lanes`);
      this.#sentUpTo = wanted;
      return;
    }
  }

  async #sendRow(row: OutboxRow): Promise<void> {
    const { namespace } = splitObjectName(this.#objectName);
    const { kind, name } = destinationOf(row.target);
    const target =
      kind === "queue"
        ? this.#env.QUEUE.getByName(queueObjectName(namespace, name))
        : topicTarget(this.#env, namespace, name);
    const refusal = await target.transfer(this.#objectName, row.id, row.data);
    if (refusal !== undefined) throw new Error(refusal.message);
    await this.#submit([{ type: "confirmed", outboxId: row.id }]);
  }

  /** A call to a gateway failed: its consumers get nothing more until it attaches those that live again. */
  #recover(gateway: string, refs: number[]): void {
    this.#gateways.delete(gateway);
    this.#submit([{ type: "pause", refs }]).catch(() => undefined);
    this.#probe(gateway, refs, true);
  }

  async #probe(gateway: string, refs: number[], reattach: boolean): Promise<void> {
    for (let attempt = 0; attempt < PROBES; attempt++) {
      try {
        this.#detach(await this.#gateway(gateway).probe(this.#objectName, refs, reattach));
        return;
      } catch {
        this.#gateways.delete(gateway);
        await new Promise((retry) => setTimeout(retry, RETRY_MS * 2 ** attempt));
      }
    }
    this.#detach(refs);
  }

  #detach(refs: number[]): void {
    if (refs.length > 0) this.#submit([{ type: "detach", refs }]).catch(() => undefined);
  }

  #gateway(name: string): GatewayRpc {
    let stub = this.#gateways.get(name);
    if (stub === undefined) {
      stub = this.#env.GATEWAY.getByName(name);
      this.#gateways.set(name, stub);
    }
    return stub;
  }
}

function byGateway(consumers: Consumer[]): Map<string, number[]> {
  const refs = new Map<string, number[]>();
  for (const { gateway, ref } of consumers) {
    if (gateway === "" || gateway === PUSH_GATEWAY) continue;
    const known = refs.get(gateway);
    if (known === undefined) refs.set(gateway, [ref]);
    else known.push(ref);
  }
  return refs;
}

function refsOf(packet: Uint8Array): number[] {
  const refs = new Set<number>();
  for (const delivery = new DeliveryView(packet); delivery.valid; delivery.next()) refs.add(delivery.ref);
  return [...refs];
}
