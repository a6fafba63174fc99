// What a careless client and an attacker send to whatever takes input: every input has an answer, and harms nobody else.
import { request } from "node:http";
import { describe, expect } from "vitest";
import {
  expectAlive,
  expectError,
  expectProblem,
  pass,
  queuePath,
  type World,
  withBroker,
} from "./harness.ts";

const it = withBroker();
const MIB = 1_048_576;
const BATCH = { "content-type": "application/vnd.dunlin.batch+json" };
/** Deeper than any recursion goes. */
const DEEP = `${"[".repeat(200_000)}${"]".repeat(200_000)}`;

/** A call whose headers may be called anything: fetch has its own opinion. */
function rawCall(
  world: World,
  path: string,
  body: string,
  headers: Record<string, string>,
): Promise<{ status: number; body: string }> {
  const url = new URL(path, world.broker.url);
  url.searchParams.set("ns", world.ns);
  return new Promise((resolve, reject) => {
    const asked = request(url, { method: "POST", headers }, async (response) => {
      let text = "";
      for await (const chunk of response) text += String(chunk);
      resolve({ status: response.statusCode!, body: text });
    });
    asked.on("error", reject);
    asked.end(body);
  });
}

describe("names that clients choose", () => {
  it("[INP1] a header called as something that every object has is a header like any other", async ({
    world,
  }) => {
    for (const name of [
      "constructor",
      "__proto__",
      "tostring",
      "dunlin-header-__proto__",
      "dunlin-header-constructor",
    ]) {
      const answer = await rawCall(world, `${queuePath("q")}/messages`, "1", {
        "content-type": "application/json",
        [name]: "x",
      });
      expect(answer, name).toMatchObject({ status: 201 });
    }
    const [, , , fourth, fifth] = await world.peek("q");
    expect(JSON.stringify([fourth!.headers, fifth!.headers])).toBe('[{"__proto__":"x"},{"constructor":"x"}]');
  });

  it("[INP1] settings that there are not, nested ones too, are not kept, whatever their names and size", async ({
    world,
  }) => {
    const body = `{"toString":1,"__proto__":{"a":1},"constructor":"${"x".repeat(2_500_000)}","backoff":{"baseMs":5,"valueOf":"${"y".repeat(1_000_000)}"}}`;
    const type = { "content-type": "application/json" };
    expect((await world.call("PUT", queuePath("q"), body, type)).status).toBe(201);
    const { body: shown } = await world.call("GET", queuePath("q"));
    expect(JSON.stringify(shown).length).toBeLessThan(2_000);
    expect(shown).toMatchObject({ settings: { backoff: { baseMs: 5 } } });
  });

  it("[INP2] a delivery has one handle: spelled otherwise it is lost, and cannot stand twice in a commit", async ({
    world,
  }) => {
    await world.publish("a", 1);
    await world.publish("b", 2);
    const [a] = await world.receive("a");
    const [b] = await world.receive("b", { leaseMs: 1_000 });
    const again = `0${b!.delivery}`;
    expect(await world.settle("b", { ack: [again] })).toEqual({ settled: 0, lost: [again] });
    // Held twice and let go, its lease would never have ended.
    const twice = await world.call("POST", "/v1/commit", {
      settle: [
        { queue: "a", ack: [a!.delivery, "1.1"] },
        { queue: "b", ack: [b!.delivery, again] },
      ],
    });
    expectProblem(twice, 409, 4, "conflict");
    await pass(1_000);
    const [back] = await world.receive("b", { waitMs: 5_000 });
    expect(back).toMatchObject({ attempt: 2 });
  });

  it("[INP3] the messageId in the path of a decision has the limits of a messageId", async ({ world }) => {
    const path = (id: string) => `${queuePath("q")}/prepared/${id}`;
    await world.publish("q", 1);
    // 65,539 in the 16 bits of a length are 3: what follows would be read as commands.
    for (const length of [1_025, 65_536 + 3]) {
      const answer = await rawCall(world, path("a".repeat(length)), '{"outcome":"commit"}', {});
      expect([400, 414, 431], String(length)).toContain(answer.status);
    }
    const known = await world.call("POST", path("x".repeat(1_024)), { outcome: "commit" });
    expectProblem(known, 404, 4, "not-found");
    expect(await world.stats("q")).toMatchObject({ ready: 1 });
  });
});

describe("what is done later in a client's name", () => {
  for (const topic of ["$SYS/broker/uptime", "$presence/room"]) {
    it(`[INP4] is not published to topic:${topic}`, async ({ world }) => {
      const told = `topic:${topic}`;
      const wire = await world.connect();
      const message = { body: { action: "enter" }, receiptTo: told };
      expectError(await wire.error({ op: "publish", to: "queue:q", ...message }), 2, "forbidden");
      expectError(
        await wire.error({ op: "commit", publish: [{ to: "queue:q", ...message }] }),
        2,
        "forbidden",
      );
      const schedules = `${queuePath("q")}/schedules/a`;
      const recurring = { cron: "* * * * *", message: { body: 1 } };
      expectProblem(await world.call("PUT", schedules, { ...recurring, to: told }), 403, 2, "forbidden");
      expectProblem(await world.call("PUT", schedules, { ...recurring, message }), 403, 2, "forbidden");
      expectProblem(
        await world.call("POST", `${queuePath("q")}/messages`, "1", { "dunlin-receipt-to": told }),
        403,
        2,
        "forbidden",
      );
    });
  }

  it("[INP5] a will takes no conditions and is not prepared, nor is the message of a schedule", async ({
    world,
  }) => {
    const stray = [
      { prepare: { checkTo: "queue:c" } },
      { expectSeq: 1 },
      { producer: { id: "p", epoch: 1, seq: 1 } },
    ];
    for (const fields of stray) {
      const wire = await world.connect(false);
      wire.send({ op: "hello", id: 1, will: { to: "queue:q", body: 1, ...fields } });
      expectError(await wire.next(({ op }) => op === "error"), 5, "not-supported");
      const message = { body: 1, ...fields };
      const answer = await world.call("PUT", `${queuePath("q")}/schedules/a`, { cron: "* * * * *", message });
      expectProblem(answer, 400, 1, "bad-field");
    }
    const nul = await world.call("PUT", `${queuePath("q")}/schedules/%00commit`, {
      cron: "* * * * *",
      message: { body: 1 },
    });
    expectProblem(nul, 400, 1, "bad-field");
  });
});

describe("depth and size", () => {
  it("[INP6] JSON nested however deep is answered, and the socket goes on", async ({ world }) => {
    const wire = await world.connect();
    const frames: [string, string][] = [
      ["body", `{"op":"publish","id":901,"to":"queue:q","body":${DEEP}}`],
      ["topic", `{"op":"publish","id":902,"to":"topic:t","body":${DEEP}}`],
      ["headers", `{"op":"publish","id":903,"to":"queue:q","body":1,"headers":{"a":${DEEP}}}`],
      ["priority", `{"op":"publish","id":904,"to":"queue:q","body":1,"priority":${DEEP}}`],
      ["filter", `{"op":"subscribe","id":905,"sub":9,"to":"queue:q","filter":{"a":${DEEP}}}`],
      ["data", `{"op":"presence","id":906,"to":"topic:r","action":"enter","data":${DEEP}}`],
      ["request", `{"op":"request","id":907,"to":"queue:q","body":${DEEP}}`],
      ["commit", `{"op":"commit","id":908,"publish":[{"to":"queue:q","body":${DEEP}}]}`],
    ];
    for (const [what, text] of frames) {
      wire.socket.send(text);
      const id = Number(/"id":(\d+)/.exec(text)![1]);
      const answer = await wire.next((frame) => frame.id === id || frame.op === "error");
      expect(answer.kind, what).not.toBe("internal");
    }
    await expectAlive(wire);
    const calls: [string, string, Record<string, string>][] = [
      [`${queuePath("q")}/messages`, `{"messages":[{"body":${DEEP}}]}`, BATCH],
      ["/v1/commit", `{"publish":[{"to":"queue:q","body":${DEEP}}]}`, {}],
      [`${queuePath("q")}/receive`, `{"filter":{"a":${DEEP}}}`, {}],
      [`${queuePath("q")}/receive`, `{"max":${DEEP}}`, {}],
    ];
    for (const [path, body, headers] of calls) {
      const { status } = await world.call("POST", path, body, {
        "content-type": "application/json",
        ...headers,
      });
      expect(status, path).toBeLessThan(500);
    }
  });

  it("[INP7] a commit as large as a frame may be is made, over both protocols", async ({ world }) => {
    const body = "x".repeat(MIB - 100);
    const publish = ["queue:big", "queue:other", "queue:other"].map((to) => ({ to, body }));
    const wire = await world.connect();
    await wire.ok({ op: "commit", publish });
    expect((await world.call("POST", "/v1/commit", { publish })).status).toBe(200);
    expect(await world.stats("big")).toMatchObject({ ready: 2 });
    expect(await world.stats("other")).toMatchObject({ ready: 4 });
    // Many small ones are one row each way.
    const many = Array.from({ length: 1_000 }, (_, at) => ({ to: at % 2 ? "queue:x" : "queue:y", body: at }));
    await wire.ok({ op: "commit", publish: many });
    expect(await world.stats("x")).toMatchObject({ ready: 500 });
    expectError(await wire.error({ op: "commit", publish: [...many, many[0]!] }), 3, "batch-too-large");
  });
});

describe("wrong types", () => {
  const WRONG = [null, true, -1, 1.5, "", "x".repeat(20_000), [], {}, [null], { a: { b: [] } }];
  const SOUND: Record<string, Record<string, unknown>> = {
    publish: {
      to: "queue:q",
      body: 1,
      producer: { id: "p", epoch: 1, seq: 1 },
      expectSeq: 9,
      receiptTo: "queue:r",
    },
    request: { to: "queue:q", body: 1, timeoutMs: 50 },
    commit: { settle: [{ sub: 1, ack: ["1.1"] }], publish: [{ to: "queue:q", body: 1 }] },
    decide: { to: "queue:q", messageId: "m", outcome: "commit" },
    presence: { to: "topic:r", action: "leave" },
    subscribe: { sub: 9, to: "queue:q", filter: "a = 1", durable: "d" },
  };

  it("[INP8] in any field of any op are answered, and the socket goes on", async ({ world }) => {
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q", credit: 0 });
    let id = 1_000;
    for (const [op, sound] of Object.entries(SOUND)) {
      for (const field of [...Object.keys(sound), "id", "sub", "headers", "prepare", "base64", "group"]) {
        for (const wrong of WRONG) {
          wire.send({ op, id: ++id, ...sound, [field]: wrong } as never);
          const answer = await wire.next(
            (frame) => frame.op === "ok" || frame.op === "error" || frame.op === "reply",
          );
          expect([answer.kind, op, field, wrong]).not.toContain("internal");
          if (answer.op === "ok") await wire.request({ op: "unsubscribe", sub: 9 }).catch(() => undefined);
        }
      }
    }
    await expectAlive(wire);
  });

  const CALLS: [string, string, Record<string, unknown>][] = [
    ["POST", "/v1/commit", { settle: [{ queue: "q", ack: ["1.1"] }], publish: [{ to: "queue:q", body: 1 }] }],
    ["POST", "/v1/queues/q/prepared/m", { outcome: "commit" }],
    ["POST", "/v1/queues/q/redrive", { to: "r", filter: "a = 1", max: 1, perSecond: 1 }],
    [
      "PUT",
      "/v1/queues/q/schedules/s",
      { cron: "* * * * *", timeZone: "UTC", missed: "skip", to: "queue:q", message: { body: 1 } },
    ],
    [
      "PUT",
      "/v1/queues/q/push",
      {
        url: "http://127.0.0.1:9/",
        secret: "x".repeat(20),
        headers: {},
        service: "HANDLER_X",
        concurrency: 1,
        timeoutMs: 1_000,
      },
    ],
    ["PUT", "/v1/queues/q/bindings/t", { filter: "a = 1" }],
    ["POST", "/v1/queues/q/receive", { max: 1, waitMs: 0, leaseMs: 1_000, filter: "a = 1" }],
  ];

  it("[INP8] in any field of any call are answered below 500", async ({ world }) => {
    await world.declare("q");
    for (const [method, path, sound] of CALLS) {
      for (const field of Object.keys(sound)) {
        for (const wrong of WRONG) {
          if (process.env.SHOW)
            console.log(Date.now() % 1e6, method, path, field, JSON.stringify(wrong).slice(0, 30));
          const { status, body } = await world.call(method, path, { ...sound, [field]: wrong });
          expect(
            status,
            `${method} ${path} ${field} ${JSON.stringify(wrong).slice(0, 40)}: ${JSON.stringify(body)}`,
          ).toBeLessThan(500);
        }
      }
    }
    for (const query of [
      "limit=0",
      "limit=1e9",
      "limit=x",
      "after=-1",
      "after=NaN",
      "after=9007199254740993",
    ]) {
      for (const path of ["/v1/queues/q/prepared", "/v1/queues/q/consumers"]) {
        expect((await world.call("GET", `${path}?${query}`)).status, query).toBe(400);
      }
    }
    for (const wrong of ["a = ", "a LIKE 'x' ESCAPE 'yy'", "(".repeat(200), "a".repeat(4_097)]) {
      const answer = await world.call("GET", `/v1/events?topic=t&filter=${encodeURIComponent(wrong)}`);
      expectProblem(answer, 400, 1, "bad-field");
    }
  });

  it("[INP9] a secret and the values of a push's headers are in no answer", async ({ world }) => {
    const path = `${queuePath("q")}/push`;
    const secret = "whsec_c2VjcmV0c2VjcmV0c2VjcmV0";
    const settings = { url: "http://127.0.0.1:9/", secret, headers: { authorization: "Bearer hidden" } };
    const answers = [
      await world.call("PUT", path, settings),
      await world.call("GET", path),
      await world.call("PUT", path, { ...settings, headers: { "bad name": "Bearer hidden" } }),
      await world.call("PUT", path, { ...settings, secret: "short secret", url: "http://127.0.0.1:9/" }),
      await world.call("GET", queuePath("q")),
    ];
    const text = JSON.stringify(answers.map(({ body }) => body));
    expect(text).not.toMatch(/c2VjcmV0|hidden|short secret/);
    expect(answers[1]!.body).toMatchObject({ signed: true, headers: { authorization: "***" } });
  });
});
