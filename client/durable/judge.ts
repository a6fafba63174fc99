// What a round of sends means for each message: confirmed, refused for good, or kept; and whether the rest must be numbered anew. Pure.
//
// The broker stores the numbers of a producer at one address without a gap. So behind a message that it did not store it refuses all
// others as `out-of-sequence`, and that answer is no fault of theirs: they are kept, and those behind a message refused for good are
// numbered from 1 in a new epoch, which also fences off whatever an old socket may still carry.
import type { DunlinError, SendResult } from "../index.ts";
import type { ProducerPlace } from "../publish.ts";

/** One message of a round. */
export interface Sent {
  place: number;
  producer: ProducerPlace;
  /** Whether an earlier attempt had no answer, so that it may be stored already. */
  wasInDoubt: boolean;
  answer: SendResult | DunlinError;
}

/** Why a message is refused, as it is stored. */
export interface Refusal {
  code: number;
  kind: string;
  message: string;
}

/** What becomes of one message. */
export type Verdict =
  | { place: number; is: "confirmed"; result: SendResult }
  | { place: number; is: "refused"; error: Refusal }
  | { place: number; is: "kept"; inDoubt: boolean };

/** What a round means for one address. */
export interface Judgement {
  /** The numbers of its messages were of this producer and epoch; if they are of another meanwhile, the judgement is void. */
  of: ProducerPlace;
  verdicts: Verdict[];
  /** Number what is kept anew: in a `next` epoch, or as a `new` producer. */
  renumber?: "next" | "new";
  /** Whether others that are in doubt may be stored all the same: their numbers prove nothing then. */
  isDoubtful: boolean;
  /** Not before this time, if something is kept: the broker's wish, or undefined. */
  afterMs?: number | undefined;
}

/** Codes from here on close a connection; they say nothing of a message. */
const FIRST_CLOSE_CODE = 4_000;
/** Refusals for want of a valid token: another one may come. */
const WAITS_FOR_TOKEN = ["unauthenticated", "token-expired"];

/**
 * Judges the messages of one address.
 *
 * @param sent in the order of their numbers, at least one
 */
export function judge(sent: readonly Sent[]): Judgement {
  const judgement: Judgement = { of: sent[0]!.producer, verdicts: [], isDoubtful: false };
  let isHeldUp = false;
  let isForgotten = false;
  for (const { place, wasInDoubt, answer } of sent) {
    const keep = (inDoubt: boolean) => judgement.verdicts.push({ place, is: "kept", inDoubt });
    const refuse = (error: Refusal) => judgement.verdicts.push({ place, is: "refused", error });
    if (!("kind" in answer)) {
      judgement.verdicts.push({ place, is: "confirmed", result: answer });
      continue;
    }
    const isOrder = answer.kind === "out-of-sequence" || answer.kind === "fenced";
    if (hasNoAnswer(answer)) {
      isHeldUp = true;
      keep(wasInDoubt || answer.kind !== "outbox-full");
    } else if (isOrder && isHeldUp) keep(wasInDoubt);
    else if (isOrder) {
      // With no other before it to blame: the broker has forgotten this producer, or another has its id.
      isForgotten ||= !judgement.renumber;
      judgement.isDoubtful ||= isForgotten;
      judgement.renumber ??= answer.kind === "fenced" ? "new" : "next";
      if (wasInDoubt && isForgotten) refuse(unknownOutcome(answer));
      else keep(false);
    } else if (isPassing(answer)) {
      isHeldUp = true;
      judgement.afterMs = Math.max(judgement.afterMs ?? 0, answer.afterMs ?? 0) || undefined;
      keep(wasInDoubt);
    } else {
      const mayBeStored = wasInDoubt && !isForEver(answer);
      judgement.renumber ??= "next";
      judgement.isDoubtful ||= mayBeStored;
      refuse(mayBeStored ? unknownOutcome(answer) : plain(answer));
    }
  }
  return judgement;
}

/** Why a message is refused of which nobody can say whether it is stored. */
export function unknownOutcome(cause?: DunlinError): Refusal {
  const why = cause ? `; now the broker says: ${cause.message}` : "";
  const message = `An earlier attempt had no answer: whether the message was stored is unknown${why}`;
  return { code: 0, kind: "outcome-unknown", message };
}

function plain({ code, kind, message }: DunlinError): Refusal {
  return { code, kind, message };
}

/** Whether nobody said anything of the message itself. */
function hasNoAnswer({ code, kind }: DunlinError): boolean {
  return code >= FIRST_CLOSE_CODE || ["closed", "lost", "outcome-unknown", "outbox-full"].includes(kind);
}

/** Whether the message itself is wrong, so that an earlier attempt had the same answer. */
function isForEver({ code, kind }: DunlinError): boolean {
  return (code >= 100 && code < 200) || kind.endsWith("-too-large");
}

function isPassing({ kind, retry }: DunlinError): boolean {
  return retry !== "none" || WAITS_FOR_TOKEN.includes(kind);
}
