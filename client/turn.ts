// Runs a callback once at the end of the turn, after every microtask of it: an application that awaits one message after
// another from a full buffer does so in microtasks, and what it sends meanwhile should leave as one frame.

interface Immediate {
  setImmediate?(callback: () => void): unknown;
}

/** Collects any number of requests in a turn into one run. */
export class Turn {
  readonly #run: () => void;
  readonly #later: () => void;
  #channel: MessageChannel | undefined;
  #requested = false;

  /**
   * @param run called once per turn in which `request` was
   */
  constructor(run: () => void) {
    this.#run = run;
    const fire = () => {
      this.#requested = false;
      this.#run();
    };
    const { setImmediate } = globalThis as Immediate;
    // A browser delays setTimeout(0) by 4 ms, and by a second in a hidden tab; a message to oneself it does not delay.
    if (setImmediate) this.#later = () => setImmediate(fire);
    else if (typeof MessageChannel === "undefined") this.#later = () => setTimeout(fire);
    else {
      this.#channel = new MessageChannel();
      this.#channel.port1.onmessage = fire;
      this.#later = () => this.#channel?.port2.postMessage(0);
    }
  }

  /** Asks for a run at the end of this turn. */
  request(): void {
    if (this.#requested) return;
    this.#requested = true;
    this.#later();
  }

  /** Runs no more, and lets a process end. */
  stop(): void {
    this.#channel?.port1.close();
    this.#channel = undefined;
    this.#requested = true;
  }
}
