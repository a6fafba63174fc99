// The packets of MQTT 3.1, 3.1.1 and 5.0 as plain values: what the reader yields and the writer takes.

/** Protocol level: 3 = MQTT 3.1 ("MQIsdp"), 4 = MQTT 3.1.1, 5 = MQTT 5.0. */
export type Version = 3 | 4 | 5;

export type Qos = 0 | 1 | 2;

/** What SUBSCRIBE asks about retained messages: 0 send, 1 send if the subscription is new, 2 do not send. */
export type RetainHandling = 0 | 1 | 2;

/**
 * Every property of MQTT 5.0; which may stand in which packet is the table of properties.ts. Absent means that the
 * packet does not carry it; before 5.0 there are none.
 */
export interface Properties {
  /** Whether the payload is UTF-8 text. */
  payloadFormatIndicator?: 0 | 1;
  /** Seconds. */
  messageExpiryInterval?: number;
  contentType?: string;
  responseTopic?: string;
  correlationData?: Uint8Array;
  /** Each 1 to 268,435,455. SUBSCRIBE carries at most one. */
  subscriptionIdentifiers?: number[];
  /** Seconds; 0xFFFFFFFF means for ever. */
  sessionExpiryInterval?: number;
  assignedClientIdentifier?: string;
  /** Seconds. */
  serverKeepAlive?: number;
  authenticationMethod?: string;
  authenticationData?: Uint8Array;
  requestProblemInformation?: boolean;
  /** Seconds. */
  willDelayInterval?: number;
  requestResponseInformation?: boolean;
  responseInformation?: string;
  serverReference?: string;
  reasonString?: string;
  /** 1 to 65,535. */
  receiveMaximum?: number;
  topicAliasMaximum?: number;
  /** 1 to 65,535. */
  topicAlias?: number;
  maximumQos?: 0 | 1;
  retainAvailable?: boolean;
  /** Names may repeat; the order is the sender's. */
  userProperties?: [string, string][];
  /** Bytes; at least 1. */
  maximumPacketSize?: number;
  wildcardSubscriptionAvailable?: boolean;
  subscriptionIdentifiersAvailable?: boolean;
  sharedSubscriptionAvailable?: boolean;
}

/** The message a server publishes when the connection ends unexpectedly. */
export interface Will {
  topic: string;
  payload: Uint8Array;
  qos: Qos;
  retain: boolean;
  properties?: Properties;
}

export interface Connect {
  type: "connect";
  version: Version;
  /** May be empty. */
  clientId: string;
  /** Clean Start of 5.0, Clean Session before. */
  cleanStart: boolean;
  /** Seconds; 0 turns keep alive off. */
  keepAlive: number;
  username?: string;
  password?: Uint8Array;
  will?: Will;
  properties?: Properties;
}

export interface Connack {
  type: "connack";
  sessionPresent: boolean;
  /** A reason code of 5.0; the writer translates 0x80 and above for earlier versions, the reader gives the byte as it came. */
  reasonCode: number;
  properties?: Properties;
}

export interface Publish {
  type: "publish";
  /** Empty only in 5.0, with a topic alias. */
  topic: string;
  /** From the reader: a view of the bytes pushed, not a copy. */
  payload: Uint8Array;
  qos: Qos;
  retain: boolean;
  dup: boolean;
  /** 1 to 65,535; 0 with QoS 0. */
  packetId: number;
  properties?: Properties;
}

/** PUBACK, PUBREC, PUBREL and PUBCOMP differ in their type alone. */
export interface PublishAnswer {
  type: "puback" | "pubrec" | "pubrel" | "pubcomp";
  packetId: number;
  /** 0 before 5.0. */
  reasonCode: number;
  properties?: Properties;
}

/** One line of a SUBSCRIBE; before 5.0 all but `filter` and `qos` are false or 0. */
export interface SubscribeFilter {
  filter: string;
  qos: Qos;
  noLocal: boolean;
  retainAsPublished: boolean;
  retainHandling: RetainHandling;
}

export interface Subscribe {
  type: "subscribe";
  packetId: number;
  /** At least one. Their grammar is not checked here. */
  filters: SubscribeFilter[];
  properties?: Properties;
}

export interface Suback {
  type: "suback";
  packetId: number;
  /** One for each filter, in order; the writer turns 0x80 and above into 0x80 before 5.0. */
  reasonCodes: number[];
  properties?: Properties;
}

export interface Unsubscribe {
  type: "unsubscribe";
  packetId: number;
  /** At least one. */
  filters: string[];
  properties?: Properties;
}

export interface Unsuback {
  type: "unsuback";
  packetId: number;
  /** One for each filter, in order; none on the wire before 5.0. */
  reasonCodes: number[];
  properties?: Properties;
}

export interface Pingreq {
  type: "pingreq";
}

export interface Pingresp {
  type: "pingresp";
}

export interface Disconnect {
  type: "disconnect";
  /** 0 before 5.0. */
  reasonCode: number;
  properties?: Properties;
}

/** 5.0 only. */
export interface Auth {
  type: "auth";
  reasonCode: number;
  properties?: Properties;
}

/** A control packet, told apart by `type`. */
export type Packet =
  | Connect
  | Connack
  | Publish
  | PublishAnswer
  | Subscribe
  | Suback
  | Unsubscribe
  | Unsuback
  | Pingreq
  | Pingresp
  | Disconnect
  | Auth;

/**
 * Bytes that are no packet the receiver may take. The connection must be closed; in 5.0 `reason` goes into the CONNACK
 * or DISCONNECT before. 0x84 means an unknown protocol name or level (return code 0x01 before 5.0).
 *
 * @example { type: "malformed", reason: 0x81, message: "QoS 3 does not exist", clause: "MQTT-3.3.1-4" }
 */
export interface Malformed {
  type: "malformed";
  /** A reason code of 5.0, whatever the version. */
  reason: number;
  message: string;
  /** The OASIS statement of 5.0 that was broken, where one names the case. */
  clause?: string;
}
