/** Closing codes of the contract: 4000–4399 invite a reconnect, 4400–4999 do not. */
export const CLOSE = {
  brokerFailed: 4000,
  badFrame: 4400,
  unauthenticated: 4401,
  forbidden: 4403,
  noHello: 4408,
  takenOver: 4409,
  tooLarge: 4413,
} as const;
