// What runs inside the page: the client under test, and a record of what it told. The tests call it from outside.
import { type ConnectOptions, type ConsumeOptions, connect, type Dunlin } from "../../../client/index.ts";
import { sharedSocket, steadyTimers } from "../../../client/tabs/index.ts";

/** Everything that happened in the page, as JSON. */
export interface PageLog {
  /** Jobs whose send resolved. */
  confirmed: number[];
  /** Jobs in the order in which the loop got them. */
  handedOut: number[];
  /** Jobs whose ack resolved true. */
  acked: number[];
  /** Jobs whose ack resolved false. */
  lost: number[];
  states: string[];
  errors: string[];
}

/** How to connect; `shared` names a connection to share with other tabs, `steady` asks for steady timers. */
export interface OpenOptions extends Pick<ConnectOptions, "client" | "pingMs"> {
  shared?: string;
  steady?: boolean;
}

/** The page's functions, as `globalThis.page`. */
export interface PageApi {
  log: PageLog;
  open(url: string, options?: OpenOptions): Promise<string>;
  /** Sends the jobs `from` to `to - 1`, so many at a time; resolves when all are confirmed. */
  produce(queue: string, from: number, to: number, atOnce: number): Promise<void>;
  /** Acks every job it gets, after `workMs`; goes on until the client is closed. */
  consume(queue: string, options?: Pick<ConsumeOptions, "credit" | "leaseMs">, workMs?: number): void;
  /** Sends bodies of every kind and returns them as they came back. */
  echo(queue: string): Promise<{ sent: unknown[]; got: unknown[]; receipts: unknown[] }>;
  close(): Promise<void>;
}

interface Job {
  job: number;
}

let dunlin: Dunlin;
const log: PageLog = { confirmed: [], handedOut: [], acked: [], lost: [], states: [], errors: [] };

const page: PageApi = {
  log,

  async open(url, { shared, steady, ...options } = {}) {
    const timers = steady ? { every: steadyTimers() } : {};
    dunlin = connect(url, { ...options, ...timers, ...(shared ? sharedSocket({ name: shared }) : {}) });
    dunlin.on("state", (state) => log.states.push(state));
    dunlin.on("error", (error) => log.errors.push(`${error.kind}: ${error.message}`));
    await dunlin.ready();
    return dunlin.client;
  },

  async produce(queue, from, to, atOnce) {
    const jobs = dunlin.queue<Job>(queue);
    const send = async (job: number) => {
      await jobs.send({ job });
      log.confirmed.push(job);
    };
    for (let job = from; job < to; job += atOnce) {
      const batch = Array.from({ length: Math.min(atOnce, to - job) }, (_, index) => send(job + index));
      await Promise.all(batch);
    }
  },

  consume(queue, options, workMs = 0) {
    const work = async () => {
      for await (const message of dunlin.queue<Job>(queue).consume(options)) {
        const { job } = message.body;
        log.handedOut.push(job);
        if (workMs > 0) await new Promise((resolve) => setTimeout(resolve, workMs));
        void message.ack().then((held) => (held ? log.acked : log.lost).push(job));
      }
    };
    work().catch((error: unknown) => log.errors.push(`the loop ended: ${String(error)}`));
  },

  async echo(queue) {
    const sent = [
      { text: "čeština 🐦", deep: { list: [1, null, true] } },
      "text",
      0,
      false,
      null,
      [],
      new Uint8Array([0, 255]),
    ];
    const receipts = await dunlin.queue(queue).sendBatch(sent.map((body) => ({ body })));
    const got: unknown[] = [];
    for await (const message of dunlin.queue(queue).consume()) {
      got.push(message.body);
      await message.ack();
      if (got.length === sent.length) break;
    }
    const plain = (bodies: unknown[]) =>
      bodies.map((body) => (body instanceof Uint8Array ? { bytes: [...body] } : body));
    return { sent: plain(sent), got: plain(got), receipts };
  },

  close: () => dunlin.close(),
};

(globalThis as { page?: PageApi }).page = page;
