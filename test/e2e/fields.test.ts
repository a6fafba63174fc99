// A wrong type or a value out of range in every field of every op and call: its stated error, and no effect at all.
import { describe, expect } from "vitest";
import type { WireFrame } from "../support/wire-client.ts";
import { expectError, message, queuePath, type World, withBroker } from "./harness.ts";

const it = withBroker();

const YEAR_MS = 365 * 86_400_000;
const NOT_TEXT = [7, true, null, [], {}];
const NOT_INTEGER = ["7", 1.5, true, null, [], {}, 1e300];
const NOT_LIST = ["d", 7, true, null, {}];
const NOT_OBJECT = ["x", 7, true, null, []];

type Fields = Record<string, unknown[]>;

const message1 = { to: "queue:q", body: 1 };

const publishFields: Fields = {
  to: [...NOT_TEXT, undefined],
  base64: [...NOT_TEXT, "%%%", "YQ=", "é"],
  contentType: NOT_TEXT,
  messageId: [...NOT_TEXT, "", "m".repeat(1_025)],
  headers: [...NOT_OBJECT, { a: 1 }, { a: null }, { a: ["b"] }],
  group: [...NOT_TEXT, "", "g".repeat(257)],
  priority: [...NOT_INTEGER, -1, 10],
  delayMs: [...NOT_INTEGER, -1, YEAR_MS + 1],
  deliverAt: [...NOT_INTEGER, -1, Date.now() + YEAR_MS + 600_000],
  ttlMs: [...NOT_INTEGER, 0, -1, YEAR_MS + 1],
  replyTo: NOT_TEXT,
  correlationId: NOT_TEXT,
  retain: ["true", 1, null, [], {}],
  expectSeq: [...NOT_INTEGER, -1],
};

const subscribeFields: Fields = {
  sub: [...NOT_INTEGER, undefined, -1],
  to: [...NOT_TEXT, undefined],
  credit: [...NOT_INTEGER, -1, 10_001],
  leaseMs: [...NOT_INTEGER, 999, 43_200_001, 0, -1],
  durable: NOT_TEXT,
  from: [7, true, null, [], "sometimes", {}, { seq: "1" }, { time: null }, { last: -1 }],
};

const creditFields: Fields = {
  sub: [...NOT_INTEGER, undefined],
  add: [...NOT_INTEGER, undefined, 0, -1, 10_001],
};

const settleFields: Fields = {
  sub: [...NOT_INTEGER, undefined],
  ack: [...NOT_LIST, [7], [null], [[]], [{}]],
  release: [...NOT_LIST, [7], [null]],
  fail: [
    ...NOT_LIST,
    ["d"],
    [null],
    [{}],
    [{ delivery: 7 }],
    [{ delivery: "d", reason: 7 }],
    [{ delivery: "d", delayMs: "7" }],
    [{ delivery: "d", delayMs: -1 }],
    [{ delivery: "d", delayMs: YEAR_MS + 1 }],
  ],
  dead: [...NOT_LIST, ["d"], [null], [{}], [{ delivery: 7 }], [{ delivery: "d", reason: 7 }]],
};

const extendFields: Fields = {
  sub: [...NOT_INTEGER, undefined],
  deliveries: [...NOT_LIST, undefined, [7], [null]],
  leaseMs: [...NOT_INTEGER, undefined, 999, 43_200_001],
};

/** Every case of a table: `[field, value]`. */
function cases(fields: Fields): [string, unknown][] {
  return Object.entries(fields).flatMap(([field, values]) =>
    values.map((value): [string, unknown] => [field, value]),
  );
}

/** A witness: a leased message and its figures, which no wrong frame may change. */
async function witness(world: World) {
  const wire = await world.connect();
  await world.declare("q");
  await wire.ok({ op: "subscribe", sub: 1, to: "queue:q", credit: 1 });
  await wire.ok({ op: "publish", to: "queue:q", body: "held" });
  await wire.ok({ op: "publish", to: "queue:q", body: "waiting" });
  const held = message(await wire.nextMessage());
  const before = await world.stats("q");
  return {
    wire,
    held,
    async unchanged() {
      const after = await world.stats("q");
      expect({ ...after, oldestReadyMs: 0 }).toEqual({ ...before, oldestReadyMs: 0 });
      await wire.none((frame) => frame.op === "message", 100);
      expect(await wire.ok({ op: "settle", sub: 1, ack: [held.delivery] })).toMatchObject({
        settled: 1,
        lost: [],
      });
      expect(message(await wire.nextMessage())).toMatchObject({ body: "waiting", seq: 2, attempt: 1 });
    },
  };
}

/** Sends each case as an op, and expects a 1xx error that names the field for each. */
async function refused(world: World, valid: (held: string) => WireFrame, fields: Fields): Promise<void> {
  const { wire, held, unchanged } = await witness(world);
  const wrong: string[] = [];
  const table = cases(fields);
  const replies = await Promise.all(
    wire.requestAll(
      table.map(([field, value]) => {
        const frame: WireFrame = { ...valid(held.delivery), [field]: value };
        if (field === "base64") delete frame.body;
        if (field === "deliverAt") delete frame.delayMs;
        return frame;
      }),
    ),
  );
  for (const [index, reply] of replies.entries()) {
    const [field, value] = table[index]!;
    const fine =
      reply.op === "error" &&
      Math.floor(reply.code! / 100) === 1 &&
      (field === "to" || reply.message!.includes(field) || reply.kind === "bad-address");
    if (!fine) wrong.push(`${field}: ${JSON.stringify(value)} was answered ${JSON.stringify(reply)}`);
  }
  expect(wrong).toEqual([]);
  await unchanged();
}

describe("JSON ops", () => {
  it("[FRM12] [FRM13] [PUB12] [TTL3] [DLY4] [DED9] [GRP6] publish: every field, every wrong type", async ({
    world,
  }) => {
    await refused(world, () => ({ op: "publish", ...message1 }), publishFields);
  });

  it("[FRM12] [FRM13] [LEA3] [SUB6] subscribe: every field, every wrong type", async ({ world }) => {
    await refused(world, () => ({ op: "subscribe", sub: 2, to: "queue:q" }), subscribeFields);
  });

  it("[FRM12] [FRM13] [SUB6] credit: every field, every wrong type", async ({ world }) => {
    await refused(world, () => ({ op: "credit", sub: 1, add: 1 }), creditFields);
  });

  it("[FRM12] [FRM13] unsubscribe: every wrong type", async ({ world }) => {
    await refused(world, () => ({ op: "unsubscribe", sub: 1 }), { sub: [...NOT_INTEGER, undefined] });
  });

  it("[FRM12] [FRM13] [SET9] settle: every field, every wrong type", async ({ world }) => {
    await refused(world, () => ({ op: "settle", sub: 1, ack: [] }), settleFields);
  });

  it("[SET9] nothing of a settle with one wrong entry takes effect", async ({ world }) => {
    await refused(world, (held) => ({ op: "settle", sub: 1, ack: [held] }), {
      release: [[7]],
      fail: [[{ delivery: "d", delayMs: -1 }]],
      dead: [[{ delivery: null }]],
    });
  });

  it("[FRM12] [FRM13] [LEA3] extend: every field, every wrong type", async ({ world }) => {
    await refused(
      world,
      (held) => ({ op: "extend", sub: 1, deliveries: [held], leaseMs: 60_000 }),
      extendFields,
    );
  });

  it("[FRM12] auth: every wrong type", async ({ world }) => {
    await refused(world, () => ({ op: "auth" }), { token: [...NOT_TEXT, undefined] });
  });

  it("[PUB7] [PUB12] body and base64 together, or neither, or both delays, are refused", async ({
    world,
  }) => {
    const { wire, unchanged } = await witness(world);
    for (const frame of [
      { op: "publish", to: "queue:q" },
      { op: "publish", to: "queue:q", body: 1, base64: "YQ==" },
      { op: "publish", to: "queue:q", body: 1, delayMs: 1, deliverAt: Date.now() },
    ]) {
      expectError(await wire.error(frame), 1);
    }
    await unchanged();
  });

  const helloFields: Fields = {
    token: NOT_TEXT,
    client: [...NOT_TEXT, "", "c".repeat(257)],
    session: [
      ...NOT_OBJECT,
      { expirySeconds: "1" },
      { expirySeconds: -1 },
      { expirySeconds: 604_801 },
      { expirySeconds: 0.5 },
    ],
    resume: [...NOT_LIST, [7], [null], [{ sub: "1", to: "queue:q" }], [{ sub: 1, to: 7 }]],
    will: NOT_OBJECT,
  };
  it.for(cases(helloFields))("[FRM12] [SES6] hello: %s %j", async ([field, value], { world }) => {
    const wire = await world.connect(false);
    wire.send({ op: "hello", id: 1, [field]: value });
    expectError(await wire.next((frame) => frame.op !== "message"), 1);
  });
});

describe("HTTP calls", () => {
  const calls: [string, string, Fields][] = [
    [
      "POST",
      "/receive",
      {
        max: [...NOT_INTEGER, 0, -1, 1_001],
        waitMs: [...NOT_INTEGER, -1, 30_001],
        leaseMs: [...NOT_INTEGER, 999, 43_200_001],
      },
    ],
    [
      "POST",
      "/settle",
      {
        ack: settleFields.ack!,
        release: settleFields.release!,
        fail: settleFields.fail!,
        dead: settleFields.dead!,
        extend: [
          ...NOT_LIST,
          ["d"],
          [null],
          [{}],
          [{ delivery: "d" }],
          [{ delivery: 7, leaseMs: 1_000 }],
          [{ delivery: "d", leaseMs: 999 }],
          [{ delivery: "d", leaseMs: 43_200_001 }],
          [{ delivery: "d", leaseMs: "1000" }],
        ],
      },
    ],
    [
      "PUT",
      "",
      {
        leaseMs: [...NOT_INTEGER, 999, 43_200_001],
        maxFailures: [...NOT_INTEGER, 0, -1],
        backoff: [
          ...NOT_OBJECT.filter((value) => value !== null),
          { kind: "random" },
          { kind: 7 },
          { kind: "fixed", baseMs: -1 },
          { kind: "fixed", baseMs: "1" },
          { kind: "linear", baseMs: 1, maxMs: -1 },
          { kind: "exponential", baseMs: 1, jitter: 2 },
          { kind: "exponential", baseMs: 1, jitter: -0.1 },
          { kind: "exponential", baseMs: 1, jitter: "0.5" },
        ],
        deadLetterTo: [7, true, [], {}, "", "a#b", "n".repeat(513)],
        ttlMs: ["7", 1.5, true, [], {}, 0, -1, YEAR_MS + 1],
        maxMessages: ["7", 1.5, true, [], {}, -1],
        maxBytes: ["7", 1.5, true, [], {}, -1],
        overflow: [...NOT_TEXT, "explode"],
        dedupWindowMs: [...NOT_INTEGER, -1],
      },
    ],
  ];

  it.for(calls)(
    "[HTTP14] [QUE3] [FRM12] %s …/q%s: every field, every wrong type",
    async ([method, path, fields], { world }) => {
      const { unchanged } = await witness(world);
      const wrong: string[] = [];
      for (const [field, value] of cases(fields)) {
        const answer = await world.call(method, `${queuePath("q")}${path}`, { [field]: value });
        const { code, detail } = answer.body as { code: number; detail: string };
        if (answer.status !== 400 || Math.floor(code / 100) !== 1 || !detail?.includes(field)) {
          wrong.push(
            `${field}: ${JSON.stringify(value)} was answered ${answer.status} ${JSON.stringify(answer.body)}`,
          );
        }
      }
      expect(wrong).toEqual([]);
      await unchanged();
    },
  );

  it.for([
    ["POST", "/receive"],
    ["POST", "/settle"],
    ["PUT", ""],
  ] as const)("[HTTP14] %s …/q%s: a body that is no JSON object", async ([method, path], { world }) => {
    const { unchanged } = await witness(world);
    for (const body of ["{", "7", '"x"', "[]", "null", "[{}]"]) {
      const answer = await world.call(method, `${queuePath("q")}${path}`, body, {
        "content-type": "application/json",
      });
      expect(answer, body).toMatchObject({ status: 400 });
      expect(Math.floor((answer.body as { code: number }).code / 100), body).toBe(1);
    }
    await unchanged();
  });

  it("[HTTP5] [HTTP14] publish: every malformed header", async ({ world }) => {
    const { unchanged } = await witness(world);
    const headers: [string, string][] = [
      ["idempotency-key", "m".repeat(1_025)],
      ["dunlin-group", "g".repeat(257)],
      ["dunlin-priority", "10"],
      ["dunlin-priority", "high"],
      ["dunlin-priority", "1.5"],
      ["dunlin-delay-ms", "-1"],
      ["dunlin-delay-ms", "soon"],
      ["dunlin-delay-ms", "1e3x"],
      ["dunlin-delay-ms", String(YEAR_MS + 1)],
      ["dunlin-ttl-ms", "0"],
      ["dunlin-ttl-ms", "long"],
    ];
    for (const [name, value] of headers) {
      const answer = await world.call("POST", `${queuePath("q")}/messages`, "x", {
        "content-type": "text/plain",
        [name]: value,
      });
      expect(answer, `${name}: ${value}`).toMatchObject({ status: 400 });
    }
    await unchanged();
  });

  it("[HTTP8] a batch with a malformed entry stores nothing, whatever field is wrong", async ({ world }) => {
    const { unchanged } = await witness(world);
    const wrong: string[] = [];
    const { to: _, ...fields } = publishFields;
    for (const [field, value] of [
      ...cases(fields),
      ...NOT_OBJECT.map((entry): [string, unknown] => ["", entry]),
    ]) {
      const entry = field === "" ? value : { body: 1, [field]: value };
      if (field === "base64") delete (entry as { body?: number }).body;
      const answer = await world.call(
        "POST",
        `${queuePath("q")}/messages`,
        JSON.stringify({ messages: [{ body: 0 }, entry, { body: 2 }] }),
        { "content-type": "application/vnd.dunlin.batch+json" },
      );
      if (answer.status !== 400)
        wrong.push(`${field}: ${JSON.stringify(value)} was answered ${answer.status}`);
    }
    expect(wrong).toEqual([]);
    await unchanged();
  });

  it("[OPS1] [QUE10] [HTTP14] lists and peeks: wrong state, limit and after", async ({ world }) => {
    const { unchanged } = await witness(world);
    for (const path of [
      `${queuePath("q")}/messages?state=lost`,
      `${queuePath("q")}/messages?limit=0`,
      `${queuePath("q")}/messages?limit=1001`,
      `${queuePath("q")}/messages?limit=ten`,
      "/v1/queues?limit=0",
      "/v1/queues?limit=1001",
      "/v1/queues?limit=-1",
      "/v1/queues?limit=x",
    ]) {
      expect(await world.call("GET", path), path).toMatchObject({ status: 400 });
    }
    await unchanged();
  });
});
