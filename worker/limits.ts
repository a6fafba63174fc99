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
/** Ready messages that match no waiting consumer's selector and are looked past for others that do; further ones wait their turn. */
export const MAX_PASSED = 10_000;
/** Selectors for which a queue keeps in mind what matches, those of calls that were there lately among them; the one used longest ago goes. */
export const MAX_LANES = 512;
/** Messages taken for their priority that a queue's cursor has yet to pass; further ones wait like those without a priority. */
export const MAX_AHEAD = 100_000;
/** Consumers of one queue at most, HTTP calls that wait among them. */
export const MAX_CONSUMERS = 10_000;
/** Different selectors of one queue's consumers at most: a message is held against each of them, and the first turn of a queue that wakes holds
 * all that are ready against all. */
export const MAX_CONSUMER_FILTERS = 500;
/** Characters of the selectors of one queue's consumers: as many as are kept in their parsed form. */
export const MAX_CONSUMER_FILTER_CHARS = 262_144;
/** Recurring messages of one queue at most. */
export const MAX_SCHEDULES = 1_000;
/** Bytes of the messages of one queue's schedules, all together; one has at most MAX_SCHEDULE_BYTES. */
export const MAX_SCHEDULES_BYTES = 4_000_000;
export const MAX_SCHEDULE_BYTES = 65_536;
export const MAX_SCHEDULE_ID_CHARS = 256;
export const MAX_CRON_CHARS = 256;
/** Messages that one queue pushes at the same time at most. */
export const MAX_PUSH_CONCURRENCY = 1_000;
/** Dead letters that one redrive moves in a second at most, when it is asked to keep to a rate. */
export const MAX_REDRIVE_PER_SECOND = 100_000;
/** Producers with a sequence of their own that one queue or topic object remembers at most. */
export const MAX_PRODUCERS = 50_000;
/** Other objects that may feed one queue (dead-letter sources) before the oldest is forgotten. */
export const MAX_SOURCES = 10_000;

export const MAX_NAME_BYTES = 512;
export const MAX_MESSAGE_ID_CHARS = 1_024;
export const MAX_GROUP_CHARS = 256;
export const MAX_PRODUCER_ID_CHARS = 256;
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
/** Wildcard filters of gateways and bindings of queues that one namespace holds at most. */
export const MAX_FILTERS = 100_000;

/** Messages sent to one session and unfinished at most, whatever its client would take. */
export const MAX_IN_FLIGHT = 1_024;
/** Messages that wait for one session at most; beyond it the oldest that waits is dropped and counted. */
export const MAX_SESSION_BACKLOG = 100_000;
/** Bytes that one session is owed before the oldest that waits is dropped. */
export const MAX_SESSION_BACKLOG_BYTES = 100_000_000;
/** Bytes of records in one gateway's backlog; beyond it transfers are refused and topics keep their outboxes. */
export const MAX_BACKLOG_BYTES = 1_000_000_000;
/** Records in one gateway's backlog at most, with the same outcome. */
export const MAX_BACKLOG_RECORDS = 1_000_000;
/** Stretches of the backlog that sessions wait for, all together (32 bytes of memory each), with the same outcome. */
export const MAX_BACKLOG_RUNS = 1_500_000;
/** Records in one row of a backlog at most. */
export const MAX_BACKLOG_ROW_RECORDS = 10_000;
/** Topic objects whose transfers a gateway remembers, before the one heard longest ago is forgotten. */
export const MAX_BACKLOG_SOURCES = 100_000;
/** Topics that one topic object keeps in memory; those idle longest are forgotten, and begin a new epoch when they return. */
export const MAX_TOPICS = 100_000;
/** Retained messages of one topic object at most. */
export const MAX_RETAINED = 100_000;
/** Topics with settings of their own that one topic object holds at most. */
export const MAX_DECLARED_TOPICS = 100_000;
/** Pairs of topic and target that one topic object remembers at most. */
export const MAX_INTERESTS = 200_000;
/** Groups that a compacted topic keeps only the last message of; messages of further groups are all kept. */
export const MAX_COMPACTED_GROUPS = 100_000;
/** Bytes on their way to one target of a topic object; beyond them, messages of QoS 0 for it are dropped. */
export const MAX_LANE_BYTES = 16_000_000;
/** Bytes in a topic object's outbox that some target has not confirmed; beyond them, what would have to be stored is refused. */
export const MAX_OUTBOX_BYTES = 64_000_000;
/** Bytes of events that wait for a slow reader of `/v1/events` before its stream is ended. */
export const MAX_EVENT_BACKLOG_BYTES = 16_777_216;
/** How long a request waits for its reply at most, and when nothing is said. */
export const MAX_REQUEST_TIMEOUT_MS = 300_000;
export const DEFAULT_REQUEST_TIMEOUT_MS = 30_000;
/** Requests of one connection, or of a namespace's HTTP callers, that wait for their replies at one gateway at most. */
export const MAX_WAITING_REQUESTS = 10_000;
/** Requests that wait for their replies at one gateway at most. */
export const MAX_GATEWAY_REQUESTS = 100_000;
/** Characters of the ids, addresses and askers by which the waiting requests of one gateway could be asked again. */
export const MAX_REQUEST_KEY_CHARS = 16_000_000;
/** Bytes of replies that wait at one gateway for askers who lost their connection and may ask again. */
export const MAX_KEPT_REPLY_BYTES = 16_000_000;
/** Messages that a gateway has taken over and not brought to their topic or queue yet, at most. */
export const MAX_OUTBOX_MESSAGES = 10_000;
/** Members of a room whom its snapshot and its messages name; of a larger room only the count is told. A variable may change it. */
export const MAX_PRESENCE_MEMBERS = 1_000;
/** Bytes of one member's data as JSON. */
export const MAX_PRESENCE_DATA_BYTES = 8_192;
/** Bytes of ids and data of a room's members beyond which only the count is told, however few they are. */
export const MAX_PRESENCE_ROOM_BYTES = 1_000_000;
/** Members of all rooms of one topic object; beyond it a new one is refused with `too-many`. */
export const MAX_PRESENT = 100_000;
/** Bytes of their ids and data, with the same outcome. */
export const MAX_PRESENT_BYTES = 32_000_000;
/** Rooms that one session may be in; a further one is refused with `too-many`. */
export const MAX_SESSION_ROOMS = 100;
/** A selector's text, characters. */
export const MAX_SELECTOR_CHARS = 4_096;
/** Parentheses, NOTs and signs of a selector inside each other. */
export const MAX_SELECTOR_DEPTH = 100;
/** Characters of the selectors whose parsed form an object keeps; beyond them the one asked for longest ago is parsed again. */
export const MAX_SELECTOR_CACHE_CHARS = 262_144;
/** Messages of a topic's history that one filtered call looks at. */
export const MAX_FILTERED_MESSAGES = 10_000;
/** Characters of all selectors of one session's subscriptions to topics. */
export const MAX_SESSION_SELECTOR_CHARS = 65_536;
/** Characters of the selectors of all bindings of one namespace. */
export const MAX_BINDING_SELECTOR_CHARS = 2_097_152;

/** Queues that one commit settles at, at most. */
export const MAX_COMMIT_QUEUES = 16;
/** How long a queue holds leases for a commit before it asks the deciding queue what became of it. */
export const HOLD_MS = 30_000;
/** Leases of one queue that commits hold at most. */
export const MAX_HELD = 10_000;
/** Transactions that a queue remembers never to commit, and for how long: no commit is on its way longer. */
export const MAX_ABORTS = 10_000;
export const ABORT_MEMORY_MS = 600_000;
/** How long a commit waits for the receipts of messages that go to other queues and to topics. */
export const COMMIT_WAIT_MS = 5_000;
/** Receipts from other objects, of rows and of their messages, that a queue keeps in memory for those who ask. */
export const MAX_ARRIVALS = 20_000;
/** Prepared messages of one queue that wait for their decision at most, and their bytes. */
export const MAX_PREPARED = 10_000;
export const MAX_PREPARED_BYTES = 100_000_000;
export const DEFAULT_CHECK_AFTER_MS = 60_000;
export const MIN_CHECK_AFTER_MS = 1_000;
export const DEFAULT_CHECKS = 15;
export const MAX_CHECKS = 1_000;
/** The waits between two questions after a prepared message double up to this, or stay at its checkAfterMs if that is longer. */
export const MAX_CHECK_WAIT_MS = 3_600_000;
