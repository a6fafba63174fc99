// The browser and edge client's public face: everything an application may import.
export type { CommitMessage, CommitOptions, CommitReceipt } from "./commit.ts";
export type { ConnectionState, Every } from "./connection.ts";
export type { ConsumeOptions } from "./consumer.ts";
export { type ConnectOptions, connect, Dunlin, type DunlinEvents } from "./dunlin.ts";
export { DunlinError, type Retry } from "./errors.ts";
export { type FailOptions, Message, Received, TopicMessage } from "./message.ts";
export { type OnceStore, onceKey } from "./once/once.ts";
export type {
  BatchMessage,
  ProducerPlace,
  PublishOptions,
  SendOptions,
  SendResult,
  TopicBatchMessage,
} from "./publish.ts";
export { Queue } from "./queue.ts";
export { Topic } from "./topic.ts";
export type { From, Gap, SubscribeOptions } from "./topic-subscription.ts";
