// A question and its answer: a worker doubles numbers, an HTTP call asks.
// Run it against a broker: npx node examples/request-reply.ts http://127.0.0.1:8787
import { setTimeout as pause } from "node:timers/promises";
import { connect } from "../client/index.ts";

const url = new URL(process.argv[2] ?? "http://127.0.0.1:8787");
const dunlin = connect(url.href);

/** Asks, and waits for the answer for at most a second. */
async function ask(question: number): Promise<Response> {
  const call = new URL(`/v1/queues/double/request${url.search}`, url.href.replace(/^ws/, "http"));
  const headers = { "content-type": "application/json", "dunlin-timeout-ms": "1000" };
  return fetch(call, { method: "POST", headers, body: JSON.stringify(question) });
}

/** Answers what comes to the queue; with several of these, each question goes to one. */
async function work(): Promise<void> {
  for await (const question of dunlin.queue<number>("double").consume({ credit: 8 })) {
    await question.reply(question.body * 2);
    await question.ack();
  }
}

const early = await ask(20);
console.log(early.status, ((await early.json()) as { kind: string }).kind);
const working = work();
// Nobody there is said at once, so asking again costs little.
let answer = await ask(21);
for (; answer.status === 404; answer = await ask(21)) await pause(20);
console.log(answer.status, await answer.json());
await dunlin.close();
await working;
