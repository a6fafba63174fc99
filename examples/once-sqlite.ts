// Books payments from a queue into a SQLite file. A payment and the word that it is booked are one transaction, so each is booked once,
// though this process, the broker or the network between them fail at any moment:
//   npx node examples/once-sqlite.ts http://127.0.0.1:8787 ledger.db
import { connect, onceKey } from "../client/index.ts";
import { sqliteOnce } from "../client/node/sqlite-once.ts";

interface Payment {
  account: string;
  cents: number;
}

const [url = "http://127.0.0.1:8787", path = "ledger.db"] = process.argv.slice(2);
const once = sqliteOnce(path);
once.database.exec("CREATE TABLE IF NOT EXISTS accounts (name TEXT PRIMARY KEY, cents INTEGER NOT NULL)");
const book = once.database.prepare(
  "INSERT INTO accounts VALUES (?, ?) ON CONFLICT DO UPDATE SET cents = cents + excluded.cents",
);

// A killed process's payments come to its successor after these times.
const dunlin = connect(url, { sessionExpirySeconds: 2 });
for await (const message of dunlin.queue<Payment>("payments").consume({ once, leaseMs: 2_000 })) {
  const { account, cents } = message.body;
  const isNew = await once.run(onceKey(message), () => void book.run(account, cents));
  console.log(`${message.messageId} ${isNew ? "booked" : "was booked before"}`);
  await message.ack();
}
