// The parts of a publish over HTTP: headers, payloads by content type, CloudEvents.
import { describe, expect, it } from "vitest";
import { problem } from "../../../worker/http/answer.ts";
import { binaryEvent, isBinaryEvent, structuredEvent } from "../../../worker/http/cloud-events.ts";
import { payloadOf } from "../../../worker/http/payload.ts";
import { publishHeaders } from "../../../worker/http/publish-headers.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);

describe("headers", () => {
  it("[HTTP5] are the publish's fields", () => {
    const headers = new Headers({
      "Idempotency-Key": "k",
      "Dunlin-Group": "g 1",
      "Dunlin-Priority": "9",
      "Dunlin-Delay-Ms": "5",
      "Dunlin-Ttl-Ms": "60000",
      "Dunlin-Retain": "true",
      "Dunlin-Reply-To": "queue:r",
      "Dunlin-Correlation-Id": "c",
      "Content-Type": "text/plain",
      "X-Other": "1",
    });
    expect(publishHeaders(headers)).toEqual({
      messageId: "k",
      group: "g 1",
      priority: 9,
      delayMs: 5,
      ttlMs: 60_000,
      retain: true,
      replyTo: "queue:r",
      correlationId: "c",
    });
    expect(publishHeaders(new Headers({ "dunlin-deliver-at": "1700000000000" }))).toEqual({
      deliverAt: 1_700_000_000_000,
    });
  });

  it("[HTTP6] Dunlin-Header-NAME is the message's header, in lower case", () => {
    expect(publishHeaders(new Headers({ "Dunlin-Header-Trace-Id": "a, b", "dunlin-header-x": "" }))).toEqual({
      headers: { "trace-id": "a, b", x: "" },
    });
  });

  it("[HTTP5] malformed ones are refused by name", () => {
    for (const [name, value] of [
      ["idempotency-key", ""],
      ["idempotency-key", "k".repeat(10_000)],
      ["dunlin-group", ""],
      ["dunlin-priority", "10"],
      ["dunlin-priority", "1.5"],
      ["dunlin-priority", "high"],
      ["dunlin-delay-ms", "-1"],
      ["dunlin-delay-ms", "1e3"],
      ["dunlin-ttl-ms", "0"],
      ["dunlin-retain", "maybe"],
    ] as const) {
      expect(publishHeaders(new Headers({ [name]: value })), `${name}: ${value.slice(0, 20)}`).toMatchObject({
        kind: "bad-field",
        message: expect.stringContaining(name),
      });
    }
  });
});

describe("payloads", () => {
  it("[HTTP2] JSON is checked and kept compact, its type only where it says more", () => {
    expect(payloadOf(utf8(' {"a": [1, "ü"]}\n'), "application/json; charset=utf-8")).toEqual({
      bodyKind: 0,
      body: '{"a":[1,"ü"]}',
      contentType: "",
    });
    expect(payloadOf(utf8("1"), "application/ld+json")).toMatchObject({ contentType: "application/ld+json" });
    for (const text of ["", "{", "undefined"]) {
      expect(payloadOf(utf8(text), "Application/JSON"), text).toMatchObject({ kind: "bad-body" });
    }
  });

  it("[HTTP3] text is UTF-8; in another encoding it stays bytes", () => {
    expect(payloadOf(utf8("\ufeffü"), "text/csv")).toEqual({
      bodyKind: 1,
      body: "\ufeffü",
      contentType: "text/csv",
    });
    expect(payloadOf(Uint8Array.of(0xfc), "text/plain; charset=ISO-8859-1")).toMatchObject({ bodyKind: 2 });
    expect(payloadOf(Uint8Array.of(0xfc), "text/plain")).toMatchObject({ kind: "bad-body" });
  });

  it("[HTTP4] anything else is bytes", () => {
    expect(payloadOf(utf8("{"), "application/x-www-form-urlencoded")).toMatchObject({
      bodyKind: 2,
      body: utf8("{"),
    });
    expect(payloadOf(utf8(""), "")).toEqual({ bodyKind: 2, body: utf8(""), contentType: "" });
    expect(payloadOf(utf8(""), "x".repeat(257))).toMatchObject({ kind: "bad-field" });
  });
});

describe("CloudEvents", () => {
  const event = { specversion: "1.0", id: "1", source: "/s", type: "t" };
  const headers = { "ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t" };

  it("[CEV2] [CEV3] [CEV4] structured: attributes are headers, the data is the body", () => {
    expect(structuredEvent({ ...event, data: { a: 1 }, retries: 2, live: true, subject: null }, "")).toEqual({
      messageId: "/s 1",
      headers: { ...headers, "ce-retries": "2", "ce-live": "true" },
      body: { a: 1 },
    });
    expect(structuredEvent({ ...event, datacontenttype: "image/x", data_base64: "AA==" }, "")).toEqual({
      messageId: "/s 1",
      headers,
      base64: "AA==",
      contentType: "image/x",
    });
    expect(structuredEvent(event, "")).toEqual({ messageId: "/s 1", headers, body: null });
  });

  it("[CEV2] binary: header values are percent-decoded", () => {
    const request = new Headers({
      ...headers,
      "ce-subject": "a%20%C3%BC",
      "ce-share": "100%",
      "x-other": "1",
    });
    expect(isBinaryEvent(request)).toBe(true);
    expect(binaryEvent(request)).toEqual({
      messageId: "/s 1",
      headers: { ...headers, "ce-subject": "a ü", "ce-share": "100%" },
    });
    expect(isBinaryEvent(new Headers({ "ce-subject": "x" }))).toBe(false);
  });

  it("[CEV5] what must be there and is not, or is no text, is named", () => {
    for (const name of ["id", "source", "type", "specversion"]) {
      for (const value of [undefined, null, 7, ""]) {
        expect(structuredEvent({ ...event, [name]: value }, "[3]"), `${name} ${value}`).toMatchObject({
          kind: "bad-field",
          message: expect.stringContaining(`[3].${name}`),
        });
      }
      const rest = new Headers(headers);
      rest.delete(`ce-${name}`);
      expect(isBinaryEvent(rest)).toBe(true);
      expect(binaryEvent(rest)).toMatchObject({ kind: "bad-field", message: expect.stringContaining(name) });
    }
    for (const wrong of [
      { specversion: "0.3" },
      { data: 1, data_base64: "AA==" },
      { data_base64: 7 },
      { more: {} },
    ]) {
      expect(structuredEvent({ ...event, ...wrong }, ""), JSON.stringify(wrong)).toMatchObject({
        kind: "bad-field",
      });
    }
    for (const wrong of [7, null, [], "x"])
      expect(structuredEvent(wrong, "")).toMatchObject({ kind: "bad-field" });
  });
});

describe("problems", () => {
  it("[ERR1] [ERR3] carry the refusal in the words of every protocol", async () => {
    const full = problem({ kind: "queue-full", message: "full", afterMs: 1_500 });
    expect(full.status).toBe(429);
    expect(full.headers.get("content-type")).toBe("application/problem+json");
    expect(full.headers.get("retry-after")).toBe("2");
    expect(await full.json()).toEqual({
      type: "about:blank",
      title: "Too Many Requests",
      status: 429,
      detail: "full",
      code: 303,
      kind: "queue-full",
      message: "full",
      retry: "after",
      afterMs: 1_500,
    });
  });

  it("[AUT4] a 401 says how to authenticate, and another status may stand in", async () => {
    expect(problem({ kind: "unauthenticated", message: "who?" }).headers.get("www-authenticate")).toBe(
      "Bearer",
    );
    const response = problem(
      { kind: "bad-state", message: "x" },
      { status: 426, headers: { upgrade: "websocket" } },
    );
    expect(response.status).toBe(426);
    expect(await response.json()).toMatchObject({ status: 426, title: "Upgrade Required", code: 105 });
  });
});
