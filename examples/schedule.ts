// A recurring message: the queue sends it to itself by the clock, each run once, whoever is connected.
// Run it against a broker: npx node examples/schedule.ts http://127.0.0.1:8787
const url = new URL(process.argv[2] ?? "http://127.0.0.1:8787");
const reports = new URL("/v1/queues/reports/", url);
const headers = { "content-type": "application/json" };

// Every second, for the example; a real one would say "0 9 * * MON-FRI": at nine on working days, summer and winter.
await fetch(new URL("schedules/daily", reports), {
  method: "PUT",
  headers,
  body: JSON.stringify({
    cron: "* * * * * *",
    timeZone: "Europe/Zurich",
    message: { body: { report: "sales" } },
  }),
});

for (let left = 2; left > 0; ) {
  const receive = { method: "POST", headers, body: JSON.stringify({ max: 1, waitMs: 5_000 }) };
  const answer = await fetch(new URL("receive", reports), receive);
  const { messages } = (await answer.json()) as {
    messages: { delivery: string; messageId: string; body: { report: string } }[];
  };
  for (const { messageId, body } of messages) {
    // The id tells which run it is: daily@2026-11-23T09:00:00.000Z. Whoever writes it beside the effect has each run once.
    console.log(`${body.report} for ${messageId.split("@")[0]}`);
    left--;
  }
  const ack = messages.map(({ delivery }) => delivery);
  await fetch(new URL("settle", reports), { method: "POST", headers, body: JSON.stringify({ ack }) });
}
await fetch(new URL("schedules/daily", reports), { method: "DELETE" });

export {};
