// A shared subscription whose last member leaves at one gateway while another joins at the next.
import { expect } from "vitest";
import { pass } from "../harness.ts";
import { withMqtt } from "./mqtt-world.ts";

const ROUNDS = 60;
const it = withMqtt({ env: { GATEWAYS: "3", TOPIC_BUCKETS: "0" } });

it("[REG4] over several gateways the one that joins gets what is published after its SUBACK", async ({
  mqtt,
}) => {
  const from = await mqtt.connect(5);
  let last = await mqtt.connect(5, { clientId: "member-0" });
  await last.subscribe("$share/g/t", { qos: 1 });
  for (let round = 1; round < ROUNDS; round++) {
    const next = await mqtt.connect(5, { clientId: `member-${round}` });
    const gone = last.bye();
    // The two meet at another moment in each round.
    await pass(round % 6);
    expect(await next.subscribe("$share/g/t", { qos: 1 })).toEqual([1]);
    await gone;
    await from.publish("t", `${round}`, { qos: 1 });
    expect(await next.payloads(1)).toEqual([`${round}`]);
    last = next;
  }
});
