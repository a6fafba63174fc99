// What leaves a queue for gateways: deliveries, and questions whether consumers still live. Its outbox is outbox-sender.ts's.
import type { Env } from "../env.ts";
import type { GatewayRpc } from "../gateway/rpc.ts";
import { DeliveryView, type DeliveryWriter } from "../link/deliveries.ts";
import type { TurnCommand } from "./carry-out.ts";
import type { Consumer } from "./consumers.ts";
import { PUSH_GATEWAY } from "./push-target.ts";

const RETRY_MS = 1_000;
/** Times a gateway is asked for its consumers before they count as gone. */
const PROBES = 6;

/** The calls of one queue to gateways; what they answer comes back as commands. */
export class Outbound {
  readonly #env: Env;
  readonly #objectName: string;
  readonly #submit: (commands: TurnCommand[]) => Promise<unknown>;
  readonly #gateways = new Map<string, GatewayRpc>();
  /** Marks the packets of this life of the object; their last number by gateway. */
  readonly #stream = Date.now();
  readonly #numbers = new Map<string, number>();

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
