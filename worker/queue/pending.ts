// What waits for a queue's next turn.
import type { QueueResult } from "../link/results.ts";
import type { TurnCommand } from "./carry-out.ts";

/** Commands that wait for the next turn, and who waits for their results. */
export interface Pending {
  commands: TurnCommand[];
  /** The gateway that waits, if it is one. */
  gateway: string | undefined;
  resolve: (answer: Answer) => void;
  reject: (error: unknown) => void;
}

/** The results of commands, and what the gateway that sent them gets along. */
export interface Answer {
  results: QueueResult[];
  deliveries: Uint8Array | undefined;
}
