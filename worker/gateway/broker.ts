// What a protocol adapter gets from its gateway.
import type { Env } from "../env.ts";
import type { Connection } from "./connection.ts";
import type { Links } from "./links.ts";
import type { Sessions } from "./sessions.ts";

/** The gateway as its adapters see it. */
export interface Broker {
  readonly env: Env;
  readonly links: Links;
  readonly sessions: Sessions;
  /** Sends everything that was written; needed only after an await, as every event ends with it. */
  flush(): void;
  /** Writes down with its socket what a connection has become. */
  remember(connection: Connection): void;
}
