// The keep alive of an MQTT connection whose client is silent for good: it does not even answer the end of its socket.
import { expect, it } from "vitest";
import { Backlog } from "../../../worker/gateway/backlog/backlog.ts";
import type { Broker } from "../../../worker/gateway/broker.ts";
import { Connection } from "../../../worker/gateway/connection.ts";
import type { Session } from "../../../worker/gateway/session.ts";
import { Writes } from "../../../worker/gateway/writes.ts";
import { MqttProtocol } from "../../../worker/protocol/mqtt/protocol.ts";
import { NodeSql } from "../../support/node-sql.ts";

const SAVED = {
  ...{ version: 5, keepAliveMs: 10_000, seen: 0, receiveMaximum: 10, packetMaximum: null },
  ...{ aliasMaximum: 0, problems: true },
};

function silentClient(protocol: MqttProtocol, client: string): { connection: Connection; closes: number[] } {
  const closes: number[] = [];
  const writes = new Writes({ remember: () => undefined, sent: () => undefined, flush: () => undefined });
  const socket = { readyState: 1, send: () => undefined, close: (code: number) => closes.push(code) };
  const connection = new Connection(socket, writes, {
    ...{ id: client, protocol, urlNamespace: "", principal: undefined },
  });
  const session = { id: client, client, expirySeconds: 0, subscriptions: new Map(), connection };
  connection.session = session as unknown as Session;
  protocol.restore(connection, SAVED);
  return { connection, closes };
}

it("[SSN8] a client that is silent for one and a half keep alives is gone then, whether its socket ends or not", () => {
  const lost: string[] = [];
  const broker = {
    env: {},
    gateway: "gateway-0",
    backlog: Backlog.open(new NodeSql(), 0),
    sessions: { lost: ({ id }: Connection, now: number) => lost.push(`${id} at ${now}`) },
  };
  const protocol = new MqttProtocol(broker as unknown as Broker);
  const first = silentClient(protocol, "first");
  // After its gateway slept, a client may have been heard a quarter of the keep alive later than was written down.
  expect(protocol.nextDeadline).toBe(17_500);
  protocol.run(17_499);
  expect(lost).toEqual([]);
  protocol.run(17_500);
  expect(lost).toEqual(["first at 17500"]);
  expect(first.closes).toHaveLength(1);
  silentClient(protocol, "second");
  protocol.run(17_500);
  protocol.run(17_501);
  expect(lost).toEqual(["first at 17500", "second at 17500"]);
  expect(first.closes).toHaveLength(1);
  expect(protocol.nextDeadline).toBe(Number.POSITIVE_INFINITY);
});
