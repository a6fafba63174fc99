// From the fields of a publish to a message, and back to the JSON that consumers read.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Writer } from "../../../worker/bytes/writer.ts";
import { isRefusal } from "../../../worker/errors.ts";
import { MAX_DELAY_MS, MAX_MESSAGE_BYTES } from "../../../worker/limits.ts";
import { fromBase64, toBase64 } from "../../../worker/message/base64.ts";
import { PUBLISH_FIELDS, type PublishFields, toMessage } from "../../../worker/message/fields.ts";
import { messageFields } from "../../../worker/message/json.ts";
import { type Message, RecordView, writeMessage } from "../../../worker/message/record.ts";
import { check } from "../../../worker/schema.ts";

const NOW = 1_700_000_000_000;

function make(fields: PublishFields, maxBytes = MAX_MESSAGE_BYTES) {
  return toMessage(fields, NOW, maxBytes);
}

/** The message as a consumer gets it, after its way through bytes. */
function shown(fields: PublishFields): Record<string, unknown> {
  const message = make(fields);
  if (isRefusal(message)) throw new Error(message.message);
  const writer = new Writer();
  writeMessage(writer, message);
  return JSON.parse(`{${messageFields(new RecordView(writer.take()).decode())}}`) as Record<string, unknown>;
}

describe("what arrives is what was sent", () => {
  it("[PUB5] any JSON value", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (body) => {
        expect(shown({ body }).body).toEqual(JSON.parse(JSON.stringify(body)));
      }),
    );
    expect(Object.keys(shown({ body: JSON.parse('{"__proto__":1}') as unknown }).body as object)).toEqual([
      "__proto__",
    ]);
  });

  it("[PUB6] any bytes, with their content type", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const base64 = Buffer.from(bytes).toString("base64");
        expect(shown({ base64, contentType: "image/x" })).toMatchObject({ base64, contentType: "image/x" });
        expect(toBase64(bytes)).toBe(base64);
        expect(fromBase64(base64)).toEqual(bytes);
      }),
    );
    expect(shown({ base64: "AA==" }).contentType).toBe("application/octet-stream");
    expect(shown({ base64: "" }).base64).toBe("");
  });

  it("[PUB8] [PUB10] headers, group, replyTo and correlationId, whatever is in them", () => {
    const text = fc.string({ unit: "grapheme", minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(fc.dictionary(text, text, { minKeys: 1 }), text, text, (headers, group, correlationId) => {
        const fields = { headers, group, correlationId, messageId: group, replyTo: "queue:replies" };
        expect(shown({ body: 1, ...fields })).toMatchObject(fields);
      }),
    );
  });

  it("[SUB10] a message shows nothing that it does not have", () => {
    expect(Object.keys(shown({ body: null, messageId: "m", headers: {} })).sort()).toEqual([
      "body",
      "messageId",
      "seq",
      "time",
    ]);
  });

  it("[HTTP3] text of another type than JSON stays text", () => {
    expect(shown({ body: 'a "b"\n', contentType: "text/csv" })).toMatchObject({
      body: 'a "b"\n',
      contentType: "text/csv",
    });
    expect(make({ body: "a", contentType: "text/csv" })).toMatchObject({ bodyKind: 1, body: "a" });
    expect(make({ body: "a", contentType: "application/problem+json" })).toMatchObject({
      bodyKind: 0,
      body: '"a"',
    });
    expect(make({ body: "a", contentType: "application/json" })).toMatchObject({
      bodyKind: 0,
      contentType: "",
    });
  });
});

describe("times", () => {
  it("[DLY1] [TTL1] count from now", () => {
    expect(make({ body: 1, delayMs: 500, ttlMs: 900 })).toMatchObject({
      time: NOW,
      dueAt: NOW + 500,
      expiresAt: NOW + 900,
    });
    expect(make({ body: 1, delayMs: 0 })).toMatchObject({ dueAt: 0, expiresAt: 0 });
  });

  it("[DLY2] deliverAt in the past is at once", () => {
    expect(make({ body: 1, deliverAt: NOW + 7 })).toMatchObject({ dueAt: NOW + 7 });
    expect(make({ body: 1, deliverAt: NOW - 7 })).toMatchObject({ dueAt: 0 });
    expect(make({ body: 1, deliverAt: 0 })).toMatchObject({ dueAt: 0 });
  });

  it("[DLY4] more than a year, and both at once, are refused", () => {
    expect(make({ body: 1, deliverAt: NOW + MAX_DELAY_MS })).toMatchObject({ dueAt: NOW + MAX_DELAY_MS });
    for (const fields of [{ deliverAt: NOW + MAX_DELAY_MS + 1 }, { deliverAt: NOW, delayMs: 0 }]) {
      expect(make({ body: 1, ...fields })).toMatchObject({
        kind: "bad-field",
        message: expect.stringContaining("deliverAt"),
      });
    }
    expect(check(PUBLISH_FIELDS, { delayMs: MAX_DELAY_MS + 1 }, "")).toContain("delayMs");
    expect(check(PUBLISH_FIELDS, { ttlMs: 0 }, "")).toContain("ttlMs");
  });
});

describe("refusals", () => {
  it("[PUB7] neither body nor base64, both, or no base64 at all", () => {
    expect(make({})).toMatchObject({ kind: "bad-field" });
    expect(make({ body: null, base64: "" })).toMatchObject({ kind: "bad-field" });
    for (const base64 of ["YQ", "YQ=", "Y", "%%%%", "é===", "Y\u0000==", "YQ==YQ=="]) {
      expect(make({ base64 }), base64).toMatchObject({
        kind: "bad-body",
        message: expect.stringContaining("base64"),
      });
    }
  });

  it("[FRM11] a message is measured in bytes of payload and headers", () => {
    const large = { kind: "message-too-large", message: expect.stringMatching(/at most 100 bytes/) };
    expect(make({ body: "x".repeat(98) }, 100)).toMatchObject({ bodyKind: 0 });
    expect(make({ body: "x".repeat(99) }, 100)).toMatchObject(large);
    expect(make({ body: "é".repeat(49) }, 100)).toMatchObject({ bodyKind: 0 });
    expect(make({ body: "é".repeat(50) }, 100)).toMatchObject(large);
    expect(make({ base64: toBase64(new Uint8Array(100)) }, 100)).toMatchObject({ bodyKind: 2 });
    expect(make({ base64: toBase64(new Uint8Array(101)) }, 100)).toMatchObject(large);
    expect(make({ base64: toBase64(new Uint8Array(1_000)) }, 100)).toMatchObject(large);
    expect(make({ body: 1, headers: { h: "x".repeat(95) } }, 100)).toMatchObject(large);
    expect(make({ body: 1, headers: { h: "x".repeat(90) } }, 100)).toMatchObject({ bodyKind: 0 });
  });

  it("[PUB4] the messageId is the publisher's, or a fresh one that takes no part in dedup", () => {
    expect(make({ body: 1, messageId: "m" })).toMatchObject({ messageId: "m", publisherId: true });
    const [a, b] = [make({ body: 1 }) as Message, make({ body: 1 }) as Message];
    expect(a.publisherId).toBe(false);
    expect(a.messageId).not.toBe(b.messageId);
  });
});
