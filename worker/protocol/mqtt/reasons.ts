// What the broker's refusals are called in MQTT.
import type { ErrorKind, Refusal } from "../../errors.ts";
import { ReasonCode } from "./codec/reason.ts";

const REASONS: Partial<Record<ErrorKind, number>> = {
  "bad-address": ReasonCode.TopicNameInvalid,
  "bad-body": ReasonCode.PayloadFormatInvalid,
  unauthenticated: ReasonCode.BadUserNameOrPassword,
  "token-expired": ReasonCode.NotAuthorized,
  forbidden: ReasonCode.NotAuthorized,
  "wrong-namespace": ReasonCode.NotAuthorized,
  // A reply's topic that leads to nobody (any more).
  "not-found": ReasonCode.TopicNameInvalid,
  "not-declared": ReasonCode.NotAuthorized,
  "message-too-large": ReasonCode.PacketTooLarge,
  "queue-full": ReasonCode.QuotaExceeded,
  "too-many": ReasonCode.QuotaExceeded,
  unavailable: ReasonCode.ServerBusy,
  timeout: ReasonCode.ServerBusy,
};

/**
 * The reason code of a refusal.
 *
 * @example reasonOf(refuse("forbidden", "…")) // 0x87
 */
export function reasonOf({ kind }: Refusal): number {
  return REASONS[kind] ?? ReasonCode.ImplementationSpecificError;
}

/** Where a packet has no word for them: these come nearest. */
const NEAREST = new Map<number, number>([
  [ReasonCode.PacketTooLarge, ReasonCode.QuotaExceeded],
  [ReasonCode.TopicNameInvalid, ReasonCode.TopicFilterInvalid],
]);

/**
 * The reason code of a refusal in a packet that takes only some codes.
 *
 * @param codes what may stand there (codec/reason-sets.ts)
 * @example reasonIn(answerCodes("puback"), refuse("unavailable", "…")) // 0x83
 */
export function reasonIn(codes: ReadonlySet<number>, refusal: Refusal): number {
  const reason = reasonOf(refusal);
  if (codes.has(reason)) return reason;
  const nearest = NEAREST.get(reason);
  return nearest !== undefined && codes.has(nearest) ? nearest : ReasonCode.ImplementationSpecificError;
}
