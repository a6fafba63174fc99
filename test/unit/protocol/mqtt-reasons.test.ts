// What refusals are called in MQTT packets: always a code that may stand there.
import { expect, it } from "vitest";
import { errorKind, refuse } from "../../../worker/errors.ts";
import { answerCodes, subackCodes, unsubackCodes } from "../../../worker/protocol/mqtt/codec/reason-sets.ts";
import { reasonIn } from "../../../worker/protocol/mqtt/reasons.ts";

/** Numbers of refusals lie below this. */
const END_OF_CODES = 600;
const KINDS = [...new Set(Array.from({ length: END_OF_CODES }, (_, code) => errorKind(code)))];

it("[REG2] every refusal has a code of 0x80 or more in PUBACK, PUBREC, SUBACK and UNSUBACK that these may carry", () => {
  expect(KINDS.length).toBeGreaterThan(20);
  const sets = {
    puback: answerCodes("puback"),
    pubrec: answerCodes("pubrec"),
    suback: subackCodes(5),
    unsubackCodes,
  };
  for (const kind of KINDS) {
    for (const [packet, codes] of Object.entries(sets)) {
      const code = reasonIn(codes, refuse(kind, "for a test"));
      expect(codes.has(code), `${kind} in ${packet}: ${code}`).toBe(true);
      expect(code).toBeGreaterThanOrEqual(0x80);
    }
  }
});

it("[REG2] the code says what it can: of a size, a name, a permission, a limit", () => {
  const [puback, suback] = [answerCodes("puback"), subackCodes(5)];
  expect(reasonIn(puback, refuse("message-too-large", ""))).toBe(0x97);
  expect(reasonIn(puback, refuse("unavailable", ""))).toBe(0x83);
  expect(reasonIn(puback, refuse("bad-body", ""))).toBe(0x99);
  expect(reasonIn(suback, refuse("bad-address", ""))).toBe(0x8f);
  expect(reasonIn(suback, refuse("too-many", ""))).toBe(0x97);
  for (const codes of [puback, suback]) expect(reasonIn(codes, refuse("forbidden", ""))).toBe(0x87);
});
