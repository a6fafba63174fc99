// The browser and edge client's public face: everything an application may import.
export type { ConnectionState } from "./connection.ts";
export type { ConsumeOptions } from "./consumer.ts";
export { type ConnectOptions, connect, Dunlin, type DunlinEvents } from "./dunlin.ts";
export { DunlinError, type Retry } from "./errors.ts";
export { type FailOptions, Message } from "./message.ts";
export type { BatchMessage, SendOptions, SendResult } from "./publish.ts";
export { Queue } from "./queue.ts";
