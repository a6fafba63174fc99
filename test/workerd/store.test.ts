// The tables of a queue on the SQLite of a real Durable Object.
import { runInDurableObject } from "cloudflare:test";
import { DurableSql } from "../../worker/log/sql.ts";
import { storeSuite } from "../support/store-suite.ts";
import { queueStub } from "./support/objects.ts";

let objects = 0;

storeSuite("a Durable Object", async (test) => {
  await runInDurableObject(queueStub(`store-${++objects}`), (_, state) =>
    test(new DurableSql(state.storage.sql)),
  );
});
