// The cycle through Dunlin's own client: what an application gets, beside what the protocol allows (json.ts).
import { connect, type Dunlin, type Message, type Queue } from "../../../client/index.ts";
import type { Job } from "./job.ts";
import { type CycleEvents, forEverySlot, payloadOf, slotOf, type Wire } from "./wire.ts";

/** A producing and a consuming client for each pair, on the platform's own WebSocket. */
export function clientWire(job: Job, events: CycleEvents): Wire {
  const payloads = forEverySlot(job, (slot) => payloadOf(job, slot));
  const clients: Dunlin[] = [];
  const producers: Queue<string>[] = [];
  const delivered: Message<string>[] = [];
  const fail = (error: unknown): void => events.failed(String(error));

  const open = async (): Promise<Queue<string>> => {
    const client = connect(job.url);
    client.on("error", fail);
    await client.ready();
    clients.push(client);
    return client.queue<string>(job.queue);
  };
  const consume = async (queue: Queue<string>, consumer: number): Promise<void> => {
    for await (const message of queue.consume({ credit: job.window })) {
      const slot = slotOf(message.body);
      delivered[slot] = message;
      events.delivered(slot, consumer, slot);
    }
  };

  return {
    async open() {
      for (let pair = 0; pair < job.pairs; pair++) {
        consume(await open(), pair).catch(fail);
        producers.push(await open());
      }
    },
    publish(producer, slots) {
      for (const slot of slots) {
        producers[producer]!.send(payloads[slot]!).then(() => events.confirmed(slot), fail);
      }
    },
    settle(_consumer, _handles, slots) {
      for (const slot of slots) {
        delivered[slot]!.ack().then((held) => (held ? events.settled(slot) : fail("an ack came too late")));
      }
    },
    close() {
      for (const client of clients) client.close({ timeoutMs: 0 }).catch(() => {});
    },
  };
}
