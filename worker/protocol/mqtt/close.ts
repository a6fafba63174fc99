/** WebSocket closing codes: 4000–4399 invite a reconnect, 4400–4999 do not. */
export const CLOSE = {
  normal: 1000,
  notBinary: 1003,
  brokerFailed: 4000,
  keepAlive: 4001,
  protocol: 4400,
  unauthenticated: 4401,
  noConnect: 4408,
  takenOver: 4409,
  tooLarge: 4413,
} as const;
