// What must hold for a message to be stored, beside the limits of its queue or topic.
import type { Reader } from "../bytes/reader.ts";
import type { Writer } from "../bytes/writer.ts";
import type { PublishFields } from "../message/fields.ts";

/** The place of a message among all that one producer sends to one address: each is stored once, in this order. */
export interface ProducerSequence {
  /** Chosen by the producer, stable over its restarts. */
  id: string;
  /** Rises with each life of the producer: what older ones still send is fenced. */
  epoch: number;
  /** 1 for the first of an epoch, then one more each time. */
  seq: number;
}

/** Conditions of one publish; all that are named must hold. */
export interface Condition {
  /** The address's last seq must be this. */
  expectSeq?: number;
  producer?: ProducerSequence;
  /** Somebody must be there who gets the message. */
  responders?: boolean;
}

/* u8 bits: 1 expectSeq, 2 producer, 4 responders; then
 *
 *   1: f64 expectSeq     2: text16 id, f64 epoch, f64 seq
 */
const EXPECT_SEQ = 1;
const PRODUCER = 2;
const RESPONDERS = 4;

/** The conditions that the fields of a publish name, if any. */
export function conditionOf({
  expectSeq,
  producer,
}: Pick<PublishFields, "expectSeq" | "producer">): Condition | undefined {
  if (expectSeq === undefined && producer === undefined) return undefined;
  return {
    ...(expectSeq === undefined ? {} : { expectSeq }),
    ...(producer === undefined ? {} : { producer }),
  };
}

/** Appends a condition. */
export function writeCondition(to: Writer, { expectSeq, producer, responders }: Condition): void {
  const bits =
    (expectSeq === undefined ? 0 : EXPECT_SEQ) |
    (producer === undefined ? 0 : PRODUCER) |
    (responders === true ? RESPONDERS : 0);
  to.u8(bits);
  if (expectSeq !== undefined) to.f64(expectSeq);
  if (producer === undefined) return;
  to.text16(producer.id);
  to.f64(producer.epoch);
  to.f64(producer.seq);
}

/** The opposite of writeCondition. */
export function readCondition(from: Reader): Condition {
  const bits = from.u8();
  const condition: Condition = {};
  if ((bits & EXPECT_SEQ) !== 0) condition.expectSeq = from.f64();
  if ((bits & PRODUCER) !== 0) {
    condition.producer = { id: from.text16(), epoch: from.f64(), seq: from.f64() };
  }
  if ((bits & RESPONDERS) !== 0) condition.responders = true;
  return condition;
}
