// Ends an object on demand: at once, before its next call does anything, or after one was carried out and before it is answered.
// Also loses answers of calls that must be repeatable.
import { alarmAgain, stepAlarms } from "./clock.ts";

/** When an object is to die. */
export type DeathMoment = "now" | "before" | "after";

/** How often the answer to a call that is carried out gets lost, where the caller must repeat it. */
const LOST_ANSWERS = 0.02;
/** An object that gets no call for so long after it was told to die with one lives on. */
const PATIENCE_MS = 1_500;

/** The end of one object. What it had in memory is gone with it, what it had written is not. */
export class Death {
  readonly #ctx: DurableObjectState;
  #moment: DeathMoment | undefined;

  constructor(ctx: DurableObjectState) {
    this.#ctx = ctx;
    stepAlarms(ctx.storage);
  }

  /** Carries out a control request: `?moment=`; "alarm" sets the alarm anew, after a step of the clock. */
  async command(request: Request): Promise<Response> {
    const moment = new URL(request.url).searchParams.get("moment") as DeathMoment | "alarm";
    if (moment === "now") await this.#die();
    if (moment === "alarm") alarmAgain(this.#ctx.storage);
    else {
      this.#moment = moment;
      setTimeout(() => {
        this.#moment = undefined;
      }, PATIENCE_MS);
    }
    return new Response(null, { status: 204 });
  }

  /** Runs a call of another object; `repeated` says that a call without an answer comes again. */
  async around<T>(call: () => Promise<T>, repeated = false): Promise<T> {
    if (this.#moment === "before") await this.#die();
    const answer = await call();
    if (this.#moment === "after") await this.#die();
    if (repeated && Math.random() < LOST_ANSWERS) throw new Error("the check lost this answer");
    return answer;
  }

  /**
   * Ends the object in an event of its own: workerd keeps the lock on the database of an object that is aborted with a write under
   * way, and its successor could not open it. What is lost with a write under way, a SIGKILL shows.
   */
  async #die(): Promise<never> {
    await this.#ctx.storage.sync();
    return new Promise<never>(() => {
      setTimeout(() => this.#ctx.abort("the check ends this object"), 0);
    });
  }
}
