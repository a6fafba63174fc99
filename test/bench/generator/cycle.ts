// The closed loop every dialect runs in: publish -> confirm, deliver -> ack, and the next publish once a message did all of it.
// Batching is the same for all: what became due in one turn of the event loop leaves at its end, one call per connection.
import type { Job, Latency, Measured } from "./job.ts";
import type { CycleEvents, Handle, Wire } from "./wire.ts";

const CONFIRMED = 1;
const DELIVERED = 2;
const SETTLED = 4;
const COMPLETE = CONFIRMED | DELIVERED | SETTLED;

const DRAIN_MS = 20_000;
const DRAIN_POLL_MS = 5;

interface Acks {
  handles: Handle[];
  slots: number[];
}

/** Drives one job over one dialect. */
export class Cycle implements CycleEvents {
  readonly #job: Job;
  readonly #wire: Wire;
  readonly #state: Uint8Array;
  readonly #publishedAt: Float64Array;
  readonly #due: number[][];
  readonly #acks: Acks[];
  readonly #failure: Promise<never>;
  #fail!: (error: Error) => void;
  #flushing = false;
  #running = true;
  #measuring = false;
  #underWay = 0;
  #total = 0;
  #unexpected = 0;
  #confirmMs: number[] = [];
  #deliverMs: number[] = [];
  #cycleMs: number[] = [];

  constructor(job: Job, makeWire: (job: Job, events: CycleEvents) => Wire) {
    const slots = job.pairs * job.window;
    this.#job = job;
    this.#state = new Uint8Array(slots);
    this.#publishedAt = new Float64Array(slots);
    this.#due = Array.from({ length: job.pairs }, () => []);
    this.#acks = Array.from({ length: job.pairs }, () => ({ handles: [], slots: [] }));
    this.#failure = new Promise((_, reject) => {
      this.#fail = reject;
    });
    this.#failure.catch(() => {});
    this.#wire = makeWire(job, this);
  }

  /** Runs the job: warm-up, measurement, and the wait for what is still under way. */
  async run(onPhase: (phase: "measuring" | "draining") => void): Promise<Measured> {
    await this.#orFailure(this.#wire.open());
    for (let slot = 0; slot < this.#state.length; slot++) this.#makeDue(slot);
    await this.#orFailure(sleep(this.#job.warmUpMs));

    onPhase("measuring");
    const startedAt = performance.now();
    const cpuBefore = process.cpuUsage();
    this.#measuring = true;
    await this.#orFailure(sleep(this.#job.measureMs));
    this.#measuring = false;
    const elapsedMs = performance.now() - startedAt;
    const cpu = process.cpuUsage(cpuBefore);
    onPhase("draining");

    await this.#drain();
    return {
      messages: this.#cycleMs.length,
      elapsedMs,
      confirm: latency(this.#confirmMs),
      deliver: latency(this.#deliverMs),
      cycle: latency(this.#cycleMs),
      generatorCpuPercent: (cpu.user + cpu.system) / 10 / elapsedMs,
      unexpected: this.#unexpected,
      lost: this.#underWay,
      total: this.#total,
    };
  }

  close(): void {
    this.#wire.close();
  }

  confirmed(slot: number): void {
    if (this.#measuring) this.#confirmMs.push(performance.now() - this.#publishedAt[slot]!);
    this.#mark(slot, CONFIRMED);
  }

  delivered(slot: number, consumer: number, handle: Handle): void {
    if (this.#state[slot] === undefined || this.#state[slot] & DELIVERED) this.#unexpected++;
    else {
      if (this.#measuring) this.#deliverMs.push(performance.now() - this.#publishedAt[slot]!);
      this.#mark(slot, DELIVERED);
    }
    const acks = this.#acks[consumer]!;
    acks.handles.push(handle);
    acks.slots.push(slot);
    this.#flushSoon();
  }

  settled(slot: number): void {
    this.#mark(slot, SETTLED);
  }

  failed(reason: string): void {
    this.#fail(new Error(reason));
  }

  #mark(slot: number, bit: number): void {
    const state = this.#state[slot]! | bit;
    if (state === this.#state[slot]) return;
    this.#state[slot] = state;
    if (state !== COMPLETE) return;
    this.#total++;
    this.#underWay--;
    if (this.#measuring) this.#cycleMs.push(performance.now() - this.#publishedAt[slot]!);
    if (this.#running) this.#makeDue(slot);
  }

  #makeDue(slot: number): void {
    this.#underWay++;
    this.#due[Math.floor(slot / this.#job.window)]!.push(slot);
    this.#flushSoon();
  }

  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    setImmediate(() => this.#flush());
  }

  #flush(): void {
    this.#flushing = false;
    for (let consumer = 0; consumer < this.#acks.length; consumer++) {
      const { handles, slots } = this.#acks[consumer]!;
      if (handles.length === 0) continue;
      this.#acks[consumer] = { handles: [], slots: [] };
      this.#wire.settle(consumer, handles, slots);
    }
    for (let producer = 0; producer < this.#due.length; producer++) {
      const slots = this.#due[producer]!;
      if (slots.length === 0) continue;
      this.#due[producer] = [];
      const now = performance.now();
      for (const slot of slots) {
        this.#state[slot] = 0;
        this.#publishedAt[slot] = now;
      }
      this.#wire.publish(producer, slots);
    }
  }

  async #drain(): Promise<void> {
    this.#running = false;
    const deadline = performance.now() + DRAIN_MS;
    while (this.#underWay > 0 && performance.now() < deadline) await this.#orFailure(sleep(DRAIN_POLL_MS));
  }

  #orFailure<T>(step: Promise<T>): Promise<T> {
    return Promise.race([step, this.#failure]);
  }
}

function latency(samples: number[]): Latency {
  const sorted = Float64Array.from(samples).sort();
  const at = (share: number): number => sorted[Math.floor((sorted.length - 1) * share)] ?? Number.NaN;
  return { p50: at(0.5), p99: at(0.99), max: at(1) };
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
