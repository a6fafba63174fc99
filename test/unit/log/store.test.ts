// The tables of a queue on Node's SQLite.
import { NodeSql } from "../../support/node-sql.ts";
import { storeSuite } from "../../support/store-suite.ts";

storeSuite("node:sqlite", (test) => test(new NodeSql()));
