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
  "not-declared": ReasonCode.NotAuthorized,
  "message-too-large": ReasonCode.PacketTooLarge,
  "queue-full": ReasonCode.QuotaExceeded,
  "too-many": ReasonCode.QuotaExceeded,
  unavailable: ReasonCode.ServerBusy,
};

/**
 * The reason code of a refusal.
 *
 * @example reasonOf(refuse("forbidden", "…")) // 0x87
 */
export function reasonOf({ kind }: Refusal): number {
  return REASONS[kind] ?? ReasonCode.ImplementationSpecificError;
}
