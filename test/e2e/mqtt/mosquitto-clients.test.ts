// Mosquitto's command line clients, through a pipe that cuts and joins packets.
import { describe, expect } from "vitest";
import { HAS_MOSQUITTO_CLIENTS, MosquittoSub, mosquittoPub } from "../../support/mosquitto-clients.ts";
import { openTcpPipe, type TcpPipe } from "../../support/tcp-pipe.ts";
import { withMqtt } from "./mqtt-world.ts";

const base = withMqtt();
const it = base.extend<{ pipe: TcpPipe }>({
  pipe: async ({ mqtt }, use) => {
    const pipe = await openTcpPipe(mqtt.url, 42);
    await use(pipe);
    await pipe.stop();
  },
});

const VERSIONS = ["mqttv31", "mqttv311", "mqttv5"];

describe.runIf(HAS_MOSQUITTO_CLIENTS)("mosquitto_pub and mosquitto_sub", () => {
  it.for(VERSIONS)("[MQO6] %s: QoS 0, 1 and 2, and what is retained", async (version, { pipe }) => {
    const common = ["-V", version, "-i"];
    await mosquittoPub(pipe.port, ...common, "p", "-t", "kept/a", "-m", "kept", "-r", "-q", "1");
    const sub = await MosquittoSub.start(
      pipe.port,
      ...common,
      "s",
      "-t",
      "kept/#",
      "-t",
      "live/#",
      "-q",
      "2",
    );
    expect(await sub.take(1)).toEqual([{ topic: "kept/a", qos: 1, retain: true, payload: "kept" }]);
    for (const qos of ["0", "1", "2"]) {
      await mosquittoPub(pipe.port, ...common, "p", "-t", `live/${qos}`, "-m", `message ${qos}`, "-q", qos);
    }
    const seen = (await sub.take(4)).slice(1).toSorted((a, b) => a.qos - b.qos);
    expect(seen).toEqual(
      [0, 1, 2].map((qos) => ({ topic: `live/${qos}`, qos, retain: false, payload: `message ${qos}` })),
    );
    await sub.stop();
  });

  it.for(VERSIONS)(
    "[MQO6] %s: a persistent session gets what came while it was away",
    async (version, { pipe }) => {
      const common = ["-V", version, "-i", "durable", "-t", "t", "-q", "2", "-c"];
      const all = version === "mqttv5" ? [...common, "-x", "300"] : common;
      await (await MosquittoSub.start(pipe.port, ...all)).stop();
      for (const payload of ["1", "2", "3"]) {
        await mosquittoPub(pipe.port, "-V", version, "-t", "t", "-m", payload, "-q", "2");
      }
      const back = await MosquittoSub.start(pipe.port, ...all);
      expect((await back.take(3)).map(({ payload, qos }) => `${payload} at ${qos}`)).toEqual([
        "1 at 2",
        "2 at 2",
        "3 at 2",
      ]);
      await back.stop();
    },
  );

  it.for(VERSIONS)("[MQO6] %s: a killed client's will", async (version, { pipe }) => {
    const watcher = await MosquittoSub.start(pipe.port, "-V", version, "-t", "will/#", "-q", "1");
    const will = ["--will-topic", "will/x", "--will-payload", "gone", "--will-qos", "1"];
    const one = await MosquittoSub.start(pipe.port, "-V", version, "-t", "t", ...will);
    await one.stop("SIGKILL");
    expect(await watcher.take(1)).toMatchObject([{ topic: "will/x", payload: "gone", qos: 1 }]);
    await watcher.stop();
  });

  it("[MQO6] [MQX1] a shared subscription: every message once among its members", async ({ pipe }) => {
    const members: MosquittoSub[] = [];
    for (const version of ["mqttv311", "mqttv5", "mqttv5"]) {
      members.push(await MosquittoSub.start(pipe.port, "-V", version, "-t", "$share/g/t/#", "-q", "1"));
    }
    for (let number = 0; number < 12; number++) {
      await mosquittoPub(pipe.port, "-t", `t/${number}`, "-m", `${number}`, "-q", "1");
    }
    await expect.poll(() => members.flatMap(({ messages }) => messages).length, { timeout: 10_000 }).toBe(12);
    const payloads = members.flatMap(({ messages }) => messages.map(({ payload }) => Number(payload)));
    expect(payloads.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 12 }, (_, index) => index));
    for (const member of members) await member.stop();
  });
});
