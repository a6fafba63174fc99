// The way from a gateway to one queue or Topic object: commands of all its connections share packets, and few calls are under way at once.
// While a call is under way, what arrives waits for the next one: batches grow exactly with the load.
import { Writer } from "../bytes/writer.ts";
import { type Refusal, refuse } from "../errors.ts";
import { CommandWriter, type QueueCommand } from "../link/commands.ts";
import type { Condition } from "../link/condition.ts";
import { type Published, type QueueResult, readResults } from "../link/results.ts";
import { type Message, writeMessage } from "../message/record.ts";
import type { Applied } from "../queue/rpc.ts";

/** What takes packets of commands. */
interface Target {
  apply(packet: Uint8Array, gateway?: string): Promise<Applied>;
}

/** Calls to one object under way at most. */
const MAX_CALLS = 4;
/** Bytes that make a further call worth it while one is under way. */
const WORTH_A_CALL = 32_768;
/** Bytes that wait for an object at most; beyond them a publish is refused. */
const MAX_WAITING_BYTES = 16_000_000;

/** Hears what became of one published message. */
export type PublishDone = (outcome: Published | Refusal) => void;
/** Hears the result of any other command. */
export type CommandDone = (result: QueueResult, epoch: number) => void;

/** Who waits for the results of one packet, in the order of its commands. */
type Waiting = { publish: PublishDone[] } | { command: CommandDone };

/** What a link needs of its gateway. */
export interface LinkOwner {
  /** The gateway's name: deliveries for it ride on the object's answers. */
  gateway: string;
  /** Makes a stub of the object; a stub that failed is not used again. */
  stub: () => Target;
  /** Takes a packet of deliveries. */
  deliver: (packet: Uint8Array) => void;
  /** An answer was lost, and with it the deliveries that may have ridden on it. */
  lost: () => void;
  /** Hears of each call that begins (1) or has ended (-1). */
  calling: (by: 1 | -1) => void;
  /** Runs after each answer. */
  afterAnswer: () => void;
}

/** The link to one object. Call `flush` after each event that used it. */
export class ObjectLink {
  readonly #owner: LinkOwner;
  #target: Target | undefined;
  #packet = new CommandWriter();
  #waiting: Waiting[] = [];
  #openPublish: { mark: number; done: PublishDone[] } | undefined;
  #calls = 0;

  constructor(owner: LinkOwner) {
    this.#owner = owner;
  }

  /** Whether nothing waits and nothing is under way. */
  get idle(): boolean {
    return this.#calls === 0 && this.#waiting.length === 0;
  }

  /** @param condition what must hold for the message to be stored */
  publish(message: Message, done: PublishDone, condition?: Condition): void {
    if (this.#packet.size > MAX_WAITING_BYTES) return done(tooMuch());
    if (condition !== undefined) return this.#publishIf(message, condition, done);
    if (this.#openPublish === undefined) {
      this.#openPublish = { mark: this.#packet.beginPublish(), done: [] };
      this.#waiting.push({ publish: this.#openPublish.done });
    }
    writeMessage(this.#packet.to, message);
    this.#openPublish.done.push(done);
  }

  #publishIf(message: Message, condition: Condition, done: PublishDone): void {
    this.#closePublish();
    const record = new Writer(256);
    writeMessage(record, message);
    this.#packet.command({ type: "publish", records: record.take(), condition });
    this.#waiting.push({ publish: [done] });
  }

  command(command: QueueCommand, done: CommandDone): void {
    const carries = command.type === "commit" || command.type === "prepare";
    if (carries && this.#packet.size > MAX_WAITING_BYTES)
      return done({ type: "refused", refusal: tooMuch() }, 0);
    this.#closePublish();
    this.#packet.command(command);
    this.#waiting.push({ command: done });
  }

  /** Sends what waits, if a call may go now. */
  flush(): void {
    if (this.#waiting.length === 0) return;
    const worthIt = this.#calls === 0 || (this.#calls < MAX_CALLS && this.#packet.size >= WORTH_A_CALL);
    if (worthIt) this.#call();
  }

  #call(): void {
    this.#closePublish();
    const packet = this.#packet.take();
    const waiting = this.#waiting;
    this.#packet = new CommandWriter();
    this.#waiting = [];
    this.#calls++;
    this.#owner.calling(1);
    this.#target ??= this.#owner.stub();
    this.#target.apply(packet, this.#owner.gateway).then(
      (answer) => this.#answered(waiting, answer),
      (error: unknown) => this.#failed(waiting, error),
    );
  }

  #answered(waiting: Waiting[], answer: Applied): void {
    const { epoch, results } = readResults(answer.results);
    for (const [index, who] of waiting.entries()) tell(who, results[index]!, epoch);
    const { deliveries } = answer;
    if (deliveries !== undefined) guarded(() => this.#owner.deliver(deliveries));
    this.#ended();
  }

  #failed(waiting: Waiting[], error: unknown): void {
    console.error("a call on an object failed:", error);
    this.#target = undefined;
    // Whether it was stored is not known: with its messageId a repeated publish is stored once.
    const refusal = refuse("unavailable", "the address could not be reached; repeat with the same messageId");
    for (const who of waiting) tell(who, { type: "refused", refusal }, 0);
    this.#owner.lost();
    this.#ended();
  }

  #ended(): void {
    this.#calls--;
    this.#owner.calling(-1);
    this.flush();
    this.#owner.afterAnswer();
  }

  #closePublish(): void {
    if (this.#openPublish === undefined) return;
    this.#packet.endPublish(this.#openPublish.mark);
    this.#openPublish = undefined;
  }
}

function tooMuch(): Refusal {
  return refuse("too-many", `${MAX_WAITING_BYTES} bytes wait for this address already`, 1_000);
}

function tell(who: Waiting, result: QueueResult, epoch: number): void {
  if ("command" in who) return guarded(() => who.command(result, epoch));
  for (const [index, done] of who.publish.entries()) {
    const refusal = result.type === "refused" ? result.refusal : refuse("internal", "answered out of order");
    guarded(() => done(result.type === "published" ? result.messages[index]! : refusal));
  }
}

/** A bug that one answer meets must keep no other from who waits for it, nor the link from its next call. */
function guarded(hear: () => void): void {
  try {
    hear();
  } catch (error) {
    console.error("an answer could not be passed on:", error);
  }
}
