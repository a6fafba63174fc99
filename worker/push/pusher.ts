// Carries what a queue leases to its push consumer to where it goes, and settles it by the answers.

import { DeliveryView } from "../link/deliveries.ts";

import type { Settlement } from "../link/settlement.ts";

import type { MessageHandler, PushOutcome } from "./handler.ts";
import { callService } from "./service.ts";
import { mayCall, type PushSpec } from "./spec.ts";
import { type Pushed, postWebhook } from "./webhook.ts";

/** What pushing has done since its object woke. */
export interface PushFigures {
  delivered: number;
  failed: number;
  lastError?: string;
  /** ms since the epoch. */
  lastErrorAt?: number;
}

/** What a pusher needs of its queue. */
export interface PusherOwner {
  queue: string;
  /** See Pushed. */
  mark: string;
  /** Hosts that may be called (PushRules): a push that was set when more were must not go on. */
  hosts: string | undefined;
  /** Finds a bound Worker. */
  service: (name: string) => MessageHandler | undefined;
  settle: (settlements: Settlement[]) => void;
}

/** Waits between attempts where the queue's own back-off is none: 1 s, doubled each time, up to an hour. */
const FIRST_WAIT_MS = 1_000;
const MAX_WAIT_MS = 3_600_000;

/** Pushes for one queue. */
export class Pusher {
  readonly #owner: PusherOwner;
  readonly figures: PushFigures = { delivered: 0, failed: 0 };

  constructor(owner: PusherOwner) {
    this.#owner = owner;
  }

  /**
   * Takes a packet of deliveries (link/deliveries.ts).
   *
   * @param hasBackoff whether the queue says itself how long a failed message waits
   */
  take(spec: PushSpec, packet: Uint8Array, hasBackoff: boolean): void {
    const handles: Pick<Settlement, "position" | "lease">[] = [];
    const pushed: Pushed[] = [];
    const deliveries = new DeliveryView(packet);
    for (; deliveries.valid; deliveries.next()) {
      // Who stands by, or what others have settled, is nothing to push.
      if (deliveries.kind !== "message") continue;
      const { position, lease, attempt, epoch } = deliveries;
      handles.push({ position, lease });
      const { queue, mark } = this.#owner;
      pushed.push({ queue, mark, epoch, attempt, message: deliveries.message.decode() });
    }
    if (pushed.length === 0) return;
    const settle = (index: number, outcome: PushOutcome) =>
      this.#settle(handles[index]!, pushed[index]!, outcome, hasBackoff);
    if (spec.service === "") {
      for (const [index, one] of pushed.entries()) {
        this.#post(spec, one).then((outcome) => settle(index, outcome), reportBug);
      }
    } else this.#call(spec, pushed, settle).catch(reportBug);
  }

  async #post(spec: PushSpec, one: Pushed): Promise<PushOutcome> {
    const url = new URL(spec.url);
    if (mayCall(url, this.#owner.hosts)) return postWebhook(spec, one, Date.now());
    return { outcome: "fail", reason: `this broker does not call ${url.host}` };
  }

  async #call(
    { service, timeoutMs }: PushSpec,
    pushed: Pushed[],
    settle: (index: number, outcome: PushOutcome) => void,
  ): Promise<void> {
    const handler = this.#owner.service(service);
    const outcomes =
      handler === undefined
        ? pushed.map((): PushOutcome => ({ outcome: "fail", reason: `nothing is bound as ${service}` }))
        : await callService(handler, pushed, timeoutMs);
    for (const [index, outcome] of outcomes.entries()) settle(index, outcome);
  }

  #settle(
    handle: Pick<Settlement, "position" | "lease">,
    { attempt }: Pushed,
    { outcome, reason = "", delayMs }: PushOutcome,
    hasBackoff: boolean,
  ): void {
    if (outcome === "ack") this.figures.delivered++;
    else {
      this.figures.failed++;
      this.figures.lastError = reason || outcome;
      this.figures.lastErrorAt = Date.now();
    }
    const wait = hasBackoff ? undefined : waitAfter(attempt);
    this.#owner.settle([
      { ...handle, outcome, reason, delayMs: outcome === "fail" ? (delayMs ?? wait) : undefined },
    ]);
  }
}

/** Spread over its upper half, so that what failed together does not come back together. */
function waitAfter(attempt: number): number {
  const ceiling = Math.min(FIRST_WAIT_MS * 2 ** Math.min(attempt - 1, 20), MAX_WAIT_MS);
  return Math.round(ceiling * (0.5 + Math.random() / 2));
}

function reportBug(error: unknown): void {
  console.error("a message could not be pushed:", error);
}
