// The table of MQTT 5.0's properties [MQTT 5.0, table 2-4]: number, form, range, and the packets each may stand in.
import type { Properties } from "./packets.ts";
import { ReasonCode } from "./reason.ts";

/** Where properties stand, as bits; PUBACK, PUBREC, PUBREL and PUBCOMP share one. */
export const Place = {
  connect: 1,
  will: 2,
  connack: 4,
  publish: 8,
  answer: 16,
  subscribe: 32,
  suback: 64,
  unsubscribe: 128,
  unsuback: 256,
  disconnect: 512,
  auth: 1024,
} as const;

const { connect, will, connack, publish, answer, subscribe, suback, unsubscribe, unsuback } = Place;
const { disconnect, auth } = Place;
const REASON_STRING = connack | answer | suback | unsuback | disconnect | auth;
const ANYWHERE = REASON_STRING | connect | will | publish | subscribe | unsubscribe;

/** How a value is written: "bit" and "flag" are a byte of 0 or 1, read as a number or a boolean. */
export type Form = "bit" | "flag" | "u16" | "u32" | "varInt" | "text" | "topic" | "binary" | "pair";

export interface PropertyEntry {
  id: number;
  name: keyof Properties;
  form: Form;
  /** Bits of Place. */
  places: number;
  /** Set when 0 is refused, with this reason. */
  zero?: number;
  clause?: string;
}

const { ProtocolError, TopicAliasInvalid } = ReasonCode;

const TABLE: readonly PropertyEntry[] = [
  { id: 0x01, name: "payloadFormatIndicator", form: "bit", places: publish | will },
  { id: 0x02, name: "messageExpiryInterval", form: "u32", places: publish | will },
  { id: 0x03, name: "contentType", form: "text", places: publish | will },
  { id: 0x08, name: "responseTopic", form: "topic", places: publish | will, clause: "MQTT-3.3.2-14" },
  { id: 0x09, name: "correlationData", form: "binary", places: publish | will },
  {
    id: 0x0b,
    name: "subscriptionIdentifiers",
    form: "varInt",
    places: publish | subscribe,
    zero: ProtocolError,
  },
  { id: 0x11, name: "sessionExpiryInterval", form: "u32", places: connect | connack | disconnect },
  { id: 0x12, name: "assignedClientIdentifier", form: "text", places: connack },
  { id: 0x13, name: "serverKeepAlive", form: "u16", places: connack },
  { id: 0x15, name: "authenticationMethod", form: "text", places: connect | connack | auth },
  { id: 0x16, name: "authenticationData", form: "binary", places: connect | connack | auth },
  { id: 0x17, name: "requestProblemInformation", form: "flag", places: connect },
  { id: 0x18, name: "willDelayInterval", form: "u32", places: will },
  { id: 0x19, name: "requestResponseInformation", form: "flag", places: connect },
  { id: 0x1a, name: "responseInformation", form: "text", places: connack },
  { id: 0x1c, name: "serverReference", form: "text", places: connack | disconnect },
  { id: 0x1f, name: "reasonString", form: "text", places: REASON_STRING },
  { id: 0x21, name: "receiveMaximum", form: "u16", places: connect | connack, zero: ProtocolError },
  { id: 0x22, name: "topicAliasMaximum", form: "u16", places: connect | connack },
  {
    id: 0x23,
    name: "topicAlias",
    form: "u16",
    places: publish,
    zero: TopicAliasInvalid,
    clause: "MQTT-3.3.2-8",
  },
  { id: 0x24, name: "maximumQos", form: "bit", places: connack },
  { id: 0x25, name: "retainAvailable", form: "flag", places: connack },
  { id: 0x26, name: "userProperties", form: "pair", places: ANYWHERE },
  { id: 0x27, name: "maximumPacketSize", form: "u32", places: connect | connack, zero: ProtocolError },
  { id: 0x28, name: "wildcardSubscriptionAvailable", form: "flag", places: connack },
  { id: 0x29, name: "subscriptionIdentifiersAvailable", form: "flag", places: connack },
  { id: 0x2a, name: "sharedSubscriptionAvailable", form: "flag", places: connack },
];

const BY_ID: (PropertyEntry | undefined)[] = [];
const BY_NAME = new Map<string, PropertyEntry>();
for (const entry of TABLE) {
  BY_ID[entry.id] = entry;
  BY_NAME.set(entry.name, entry);
}

/** The property of a number; undefined for a number that 5.0 does not know. */
export function propertyById(id: number): PropertyEntry | undefined {
  return BY_ID[id];
}

/** The property of a name of `Properties`. */
export function propertyByName(name: string): PropertyEntry | undefined {
  return BY_NAME.get(name);
}
