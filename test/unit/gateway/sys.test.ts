// What a gateway says of itself under `$SYS/`.
import { describe, expect, it } from "vitest";
import type { Fanout } from "../../../worker/gateway/fanout.ts";
import type { Session } from "../../../worker/gateway/session.ts";
import { Sys } from "../../../worker/gateway/sys.ts";
import { RecordView } from "../../../worker/message/record.ts";

const MINUTE = 60_000;

function figures(records: Uint8Array): Map<string, string> {
  const found = new Map<string, string>();
  for (const view = new RecordView(records); view.valid; view.next()) {
    found.set(view.topic, String(view.decode().body));
  }
  return found;
}

/** A Sys with two sessions, one of them connected, and what it has published. */
function bench() {
  const published: { namespace: string; figures: Map<string, string> }[] = [];
  const session = (client: string, connection: object | undefined) =>
    ({
      ...{ namespace: "n", client, connection, principal: { subject: "somebody" } },
      subscriptions: new Map([[1, {}]]),
    }) as unknown as Session;
  const sessions = [session("ann", {}), session("bob", undefined)];
  const fanout = {
    deliver: (namespace: string, records: Uint8Array) => {
      published.push({ namespace, figures: figures(records) });
      return [];
    },
  };
  const sys = new Sys(
    {
      ...{ gateway: "gateway-0", fanout: fanout as unknown as Fanout, afterAnswer: () => undefined },
      sessionsOf: (namespace) => sessions.filter((each) => each.namespace === namespace),
      countRetained: async () => 7,
    },
    0,
  );
  return { sys, published, sessions };
}

describe("$SYS", () => {
  it("[SSN12] a subscriber reads the figures of its namespace that its filter matches", async () => {
    const { sys } = bench();
    sys.traffic("n").messagesReceived += 3;
    sys.traffic("other").messagesReceived += 9;
    const { records, count } = await sys.read("n", "$SYS/broker/#", 90_500);
    const found = figures(records);
    expect(found.size).toBe(count);
    expect(Object.fromEntries(found)).toMatchObject({
      "$SYS/broker/uptime": "90 seconds",
      "$SYS/broker/clients/connected": "1",
      "$SYS/broker/clients/disconnected": "1",
      "$SYS/broker/clients/total": "2",
      "$SYS/broker/subscriptions/count": "2",
      "$SYS/broker/retained messages/count": "7",
      "$SYS/broker/messages/received": "3",
    });
    expect((await sys.read("n", "$SYS/broker/clients/+", 0)).count).toBe(3);
    expect((await sys.read("n", "$SYS/none", 0)).count).toBe(0);
  });

  it("[SSN12] they come again every minute, with loads, while somebody listens", () => {
    const { sys, published } = bench();
    expect(sys.nextDeadline).toBe(Number.POSITIVE_INFINITY);
    sys.watch("n", 1, 0);
    sys.traffic("n").messagesSent += 60;
    sys.run(MINUTE - 1);
    expect(published).toEqual([]);
    sys.run(MINUTE);
    expect(published).toHaveLength(1);
    // Means of a minute, five and fifteen: 60 · (1 - e^(-1/n)).
    const loads = [1, 5, 15].map((minutes) =>
      published[0]!.figures.get(`$SYS/broker/load/messages/sent/${minutes}min`),
    );
    expect(loads).toEqual(["37.93", "10.88", "3.87"]);
    expect(sys.nextDeadline).toBe(2 * MINUTE);
    sys.watch("n", -1, MINUTE);
    sys.run(2 * MINUTE);
    expect(published).toHaveLength(1);
    expect(sys.nextDeadline).toBe(Number.POSITIVE_INFINITY);
  });

  it("[SSN12] who comes and goes is told to those who listen, unless the client id cannot stand in a topic", () => {
    const { sys, published, sessions } = bench();
    const ann = sessions[0]!;
    sys.presence(ann, "connected", 5);
    expect(published).toEqual([]);
    sys.watch("n", 1, 0);
    sys.presence(ann, "disconnected", 6);
    sys.presence({ ...ann, client: "a+b" }, "connected", 7);
    expect(published.map(({ figures: each }) => [...each])).toEqual([
      [
        [
          "$SYS/brokers/gateway-0/clients/ann/disconnected",
          JSON.stringify({ clientid: "ann", subject: "somebody", time: 6 }),
        ],
      ],
    ]);
  });
});
