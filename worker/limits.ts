// Every limit of the broker, by name. Those a deployment may change are read from its variables in env.ts.

/** Largest message (payload and headers), bytes; a variable may lower or raise it up to MAX_ROW_BYTES. */
export const MAX_MESSAGE_BYTES = 1_048_576;
/** Largest WebSocket frame a client may send, bytes. */
export const MAX_FRAME_BYTES = 4_194_304;
/** Most objects of one array frame, messages of one HTTP batch, deliveries of one settle. */
export const MAX_BATCH = 1_000;
/** Bytes of messages that one stored row holds before the next begins. The platform refuses rows over 2,000,000 bytes. */
export const MAX_ROW_BYTES = 1_800_000;

export const MIN_LEASE_MS = 1_000;
export const MAX_LEASE_MS = 12 * 3_600_000;
export const DEFAULT_LEASE_MS = 30_000;

/** Longest delay and longest time to live: one year. */
export const MAX_DELAY_MS = 365 * 86_400_000;

export const DEFAULT_CREDIT = 64;
/** Most unsettled messages of one subscription. */
export const MAX_CREDIT = 10_000;

export const DEFAULT_MAX_FAILURES = 20;
export const DEFAULT_DEDUP_WINDOW_MS = 300_000;
/** Message ids that a dedup window holds at most; the oldest leave first. */
export const MAX_DEDUP_IDS = 100_000;
/** Leases whose outcome is remembered, so that a repeated settle is answered like the first (a power of two). */
export const REMEMBERED_LEASES = 131_072;
/** Messages behind a busy group that a queue looks past for others that can go; further ones wait their turn. */
export const MAX_PARKED = 10_000;
/** Messages of one queue that are out (leased, or in back-off inside their group) at most. */
export const MAX_OUTSTANDING = 100_000;
/** Consumers of one queue at most. */
export const MAX_CONSUMERS = 10_000;
/** Other objects that may feed one queue (dead-letter sources) before the oldest is forgotten. */
export const MAX_SOURCES = 10_000;

export const MAX_NAME_BYTES = 512;
export const MAX_MESSAGE_ID_CHARS = 1_024;
export const MAX_GROUP_CHARS = 256;
export const MAX_CONTENT_TYPE_CHARS = 256;
export const MAX_CORRELATION_ID_CHARS = 1_024;
/** Bytes of a message's headers as JSON text. */
export const MAX_HEADERS_BYTES = 65_536;
export const MAX_REASON_CHARS = 1_024;
/** Entries in a dead letter's history, one for each queue and reason. */
export const MAX_DEATHS = 20;
export const MAX_CLIENT_ID_CHARS = 256;

/** Subscriptions of one session at most. */
export const MAX_SUBSCRIPTIONS = 1_000;
/** Requests of one connection that wait for an answer at most. */
export const MAX_PENDING_REQUESTS = 20_000;
export const MAX_SESSION_EXPIRY_SECONDS = 604_800;
/** A connection must say hello within this time. */
export const HELLO_TIMEOUT_MS = 10_000;

export const MAX_RECEIVE_WAIT_MS = 30_000;
export const DEFAULT_PAGE = 100;
export const MAX_PAGE = 1_000;
