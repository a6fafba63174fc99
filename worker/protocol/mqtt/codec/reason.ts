// The reason codes of MQTT 5.0, and what earlier versions say instead.

/** Name → number for every reason code of 5.0 [MQTT 5.0, table 2-6]. Several names share 0. */
export const ReasonCode = {
  Success: 0x00,
  NormalDisconnection: 0x00,
  GrantedQos0: 0x00,
  GrantedQos1: 0x01,
  GrantedQos2: 0x02,
  DisconnectWithWill: 0x04,
  NoMatchingSubscribers: 0x10,
  NoSubscriptionExisted: 0x11,
  ContinueAuthentication: 0x18,
  ReAuthenticate: 0x19,
  UnspecifiedError: 0x80,
  MalformedPacket: 0x81,
  ProtocolError: 0x82,
  ImplementationSpecificError: 0x83,
  UnsupportedProtocolVersion: 0x84,
  ClientIdentifierNotValid: 0x85,
  BadUserNameOrPassword: 0x86,
  NotAuthorized: 0x87,
  ServerUnavailable: 0x88,
  ServerBusy: 0x89,
  Banned: 0x8a,
  ServerShuttingDown: 0x8b,
  BadAuthenticationMethod: 0x8c,
  KeepAliveTimeout: 0x8d,
  SessionTakenOver: 0x8e,
  TopicFilterInvalid: 0x8f,
  TopicNameInvalid: 0x90,
  PacketIdentifierInUse: 0x91,
  PacketIdentifierNotFound: 0x92,
  ReceiveMaximumExceeded: 0x93,
  TopicAliasInvalid: 0x94,
  PacketTooLarge: 0x95,
  MessageRateTooHigh: 0x96,
  QuotaExceeded: 0x97,
  AdministrativeAction: 0x98,
  PayloadFormatInvalid: 0x99,
  RetainNotSupported: 0x9a,
  QosNotSupported: 0x9b,
  UseAnotherServer: 0x9c,
  ServerMoved: 0x9d,
  SharedSubscriptionsNotSupported: 0x9e,
  ConnectionRateExceeded: 0x9f,
  MaximumConnectTime: 0xa0,
  SubscriptionIdentifiersNotSupported: 0xa1,
  WildcardSubscriptionsNotSupported: 0xa2,
} as const;

/** Return codes of CONNACK before 5.0 [MQTT 3.1.1, table 3.1]. */
const RETURN_CODE: Readonly<Record<number, number>> = {
  [ReasonCode.UnsupportedProtocolVersion]: 0x01,
  [ReasonCode.ClientIdentifierNotValid]: 0x02,
  [ReasonCode.BadUserNameOrPassword]: 0x04,
  [ReasonCode.NotAuthorized]: 0x05,
  [ReasonCode.BadAuthenticationMethod]: 0x05,
  [ReasonCode.Banned]: 0x05,
};
const SERVER_UNAVAILABLE = 0x03;

/**
 * The CONNACK return code (0 to 5) that says before 5.0 what a reason code says; codes below 0x80 pass as they are.
 *
 * @example returnCode(ReasonCode.NotAuthorized) // 5
 */
export function returnCode(reasonCode: number): number {
  return reasonCode < 0x80 ? reasonCode : (RETURN_CODE[reasonCode] ?? SERVER_UNAVAILABLE);
}
