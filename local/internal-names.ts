// Property names that a bundle of the client may shorten: its own between its files, and partysocket's for its options. No name of the
// public face and no field of a frame stands here; test/unit/client/bundle.test.ts runs the bundle to see that.

const OWN = [
  ...["abandon", "answer", "answered", "checking", "claim", "counted", "deliver", "engine", "expiresAtMs"],
  ...["finishWaiters", "giveBack", "hasRoom", "heldSinceMs", "hold", "holder", "isOpen", "isWaiting"],
  ...[
    "kept",
    "lease",
    "leases",
    "lend",
    "link",
    "newMessageId",
    "nextId",
    "nextSub",
    "opened",
    "outbox",
    "place",
  ],
  ...[
    "places",
    "post",
    "received",
    "reopened",
    "report",
    "resubscribe",
    "rewind",
    "seal",
    "sentAtMs",
    "settled",
  ],
  ...["started", "takeFrames", "told", "touch", "waiting", "wake"],
];
const OPTIONS_OF_PARTYSOCKET = [
  ...["connectionTimeout", "debugLogger", "maxEnqueuedMessages", "maxReconnectionDelay", "maxRetries"],
  ...[
    "minReconnectionDelay",
    "minUptime",
    "reconnectionDelayGrowFactor",
    "shouldReconnectOnClose",
    "startClosed",
  ],
];

/** What of the client's names a bundle may shorten, with partysocket's private fields, which begin with an underscore. */
export const INTERNAL_NAMES = new RegExp(`^(_.*|${[...OWN, ...OPTIONS_OF_PARTYSOCKET].join("|")})$`);
