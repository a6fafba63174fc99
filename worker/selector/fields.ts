// What a selector can ask of a message: its fields by name, JMS's names for them, and its headers.

/** The fields of a message, each under the word that the wire has for it. An absent text or number is undefined. */
export interface SelectorFields {
  readonly messageId: string;
  /** When it was accepted, ms since the epoch. */
  readonly time: number;
  readonly correlationId: string | undefined;
  readonly priority: number;
  /** When it expires, ms since the epoch; 0: never, as JMS says it. */
  readonly expiresAt: number;
  /** `queue:NAME` or `topic:NAME`. */
  readonly replyTo: string | undefined;
  readonly group: string | undefined;
  readonly contentType: string;
  /** The topic it was published to; undefined when it was published to a queue. */
  readonly topic: string | undefined;
  /** Deliveries from a queue, this one included; undefined where no queue delivers. */
  readonly attempt: number | undefined;
  /** The text of a header, undefined when the message has no such header. */
  header(name: string): string | undefined;
}

/** The name of a field. */
export type FieldName = Exclude<keyof SelectorFields, "header">;

/** The fields that are numbers; all others are text. */
const NUMBERS: ReadonlySet<FieldName> = new Set<FieldName>(["time", "priority", "expiresAt", "attempt"]);

const NAMES = new Map<string, FieldName>([
  ["messageId", "messageId"],
  ["time", "time"],
  ["correlationId", "correlationId"],
  ["priority", "priority"],
  ["expiresAt", "expiresAt"],
  ["replyTo", "replyTo"],
  ["group", "group"],
  ["contentType", "contentType"],
  ["topic", "topic"],
  ["attempt", "attempt"],
  ["JMSMessageID", "messageId"],
  ["JMSTimestamp", "time"],
  ["JMSCorrelationID", "correlationId"],
  ["JMSPriority", "priority"],
  ["JMSExpiration", "expiresAt"],
  ["JMSReplyTo", "replyTo"],
  ["JMSXGroupID", "group"],
  ["JMSXDeliveryCount", "attempt"],
]);

/** The field that an identifier names; undefined when it names a header. */
export function fieldOf(identifier: string): FieldName | undefined {
  return NAMES.get(identifier);
}

/** Whether a field is a number. */
export function isNumberField(field: FieldName): boolean {
  return NUMBERS.has(field);
}
