// The durable module's public face: what a page keeps over reloads and crashes. Served as `durable.js` beside `client.js`, of which it
// imports what it shares.
export { type IndexedDbOnce, type IndexedDbOnceOptions, indexedDbOnce } from "./indexeddb-once.ts";
export { type DurableOutbox, openOutbox } from "./outbox.ts";
export type { OutboxOptions, OutboxProgress, OutboxReceipt, RefusedMessage } from "./outbox-options.ts";
