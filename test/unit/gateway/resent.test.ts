// What a queue sends again, and what its consumer has settled before that arrives.
import { expect, it } from "vitest";
import type { Links } from "../../../worker/gateway/links.ts";
import { Queues } from "../../../worker/gateway/queues.ts";
import { Recent } from "../../../worker/gateway/recent.ts";
import type { QueueSubscription, Session } from "../../../worker/gateway/session.ts";
import { PLAIN_OPTIONS } from "../../../worker/gateway/session.ts";
import type { SessionStore } from "../../../worker/gateway/session-store.ts";

/** A subscription whose commands go nowhere. */
function subscribed(): { queues: Queues; subscription: QueueSubscription } {
  const store = { saveSubscription: () => undefined } as unknown as SessionStore;
  const links = { queue: () => ({ command: () => undefined }) } as unknown as Links;
  const queues = new Queues("gateway-0", store, links);
  const session = { namespace: "n", subscriptions: new Map() } as unknown as Session;
  const address = { kind: "queue", name: "q" } as const;
  const request = {
    sub: 1,
    address,
    credit: 8,
    leaseMs: undefined,
    filter: "",
    options: PLAIN_OPTIONS,
    ref: 7,
  };
  queues.subscribe(session, request, () => undefined);
  return { queues, subscription: queues.find(7)! };
}

it("[SES18] what was settled before it came again is not shown", () => {
  const { queues, subscription } = subscribed();
  queues.attachAgain(subscription);
  queues.settled(subscription, [3]);
  const { generation } = subscription;
  expect(queues.shows(subscription, { generation, lease: 3 })).toBe(false);
  expect(queues.shows(subscription, { generation, lease: 4 })).toBe(true);
  expect(queues.shows(subscription, { generation: generation - 1, lease: 4 })).toBe(false);
});

it("[SES18] the newest leases are remembered, and not all of them", () => {
  const recent = new Recent();
  for (let lease = 1; lease <= 30_000; lease += 1) recent.add(lease);
  expect([recent.has(30_000), recent.has(20_001), recent.has(1)]).toEqual([true, true, false]);
});
