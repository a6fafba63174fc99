// Bodies within limits, numbers of a query, names of a path.
import { describe, expect, it } from "vitest";
import { isRefusal } from "../../../worker/errors.ts";
import { pathPart, queryInteger, readBody, readJson } from "../../../worker/http/input.ts";
import { object } from "../../../worker/schema.ts";

function post(body: BodyInit | null, headers: Record<string, string> = {}): Request {
  return new Request("http://broker/", { method: "POST", body, headers, duplex: "half" } as RequestInit);
}

/** A body of chunks that counts how many were asked for. */
function chunks(count: number, bytes: number) {
  const taken = { count: 0 };
  const stream = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        if (taken.count === count) return controller.close();
        taken.count += 1;
        controller.enqueue(new Uint8Array(bytes).fill(taken.count));
      },
    },
    { highWaterMark: 0 },
  );
  return { stream, taken };
}

describe("bodies", () => {
  it("[HTTP9] are read up to their limit, in one piece or in many", async () => {
    expect(await readBody(post("abc"), 3, "message-too-large")).toEqual(new TextEncoder().encode("abc"));
    expect(await readBody(post(null), 3, "message-too-large")).toEqual(new Uint8Array(0));
    const { stream } = chunks(3, 2);
    expect(await readBody(post(stream), 6, "message-too-large")).toEqual(Uint8Array.of(1, 1, 2, 2, 3, 3));
  });

  it("[HTTP9] beyond it are refused, with size and limit", async () => {
    expect(await readBody(post("abcd"), 3, "message-too-large")).toEqual({
      kind: "message-too-large",
      message: "the body has at most 3 bytes, got 4 or more",
    });
    expect(await readBody(post(chunks(4, 2).stream), 7, "frame-too-large")).toMatchObject({
      kind: "frame-too-large",
    });
  });

  it("[HTTP9] far beyond it are not read to the end, and not at all when they say so", async () => {
    const endless = chunks(Number.POSITIVE_INFINITY, 1_048_576);
    expect(isRefusal(await readBody(post(endless.stream), 10, "frame-too-large"))).toBe(true);
    expect(endless.taken.count).toBeLessThan(20);
    const declared = chunks(1, 1);
    const request = post(declared.stream, { "content-length": "1000000000" });
    expect(isRefusal(await readBody(request, 10, "frame-too-large"))).toBe(true);
    expect(declared.taken.count).toBe(0);
  });

  const spec = object({ max: { type: "integer", minimum: 1, maximum: 9 } }, []);

  it("[HTTP14] JSON must be an object that fits; nothing is an object without fields", async () => {
    expect(await readJson(post('{"max":3,"other":1}'), spec)).toMatchObject({ value: { max: 3 } });
    expect(await readJson(post(null), spec)).toEqual({ value: {} });
    for (const text of ["7", "[]", "null", '"x"', '{"max":0}', '{"max":"3"}', '{"max":null}']) {
      expect(await readJson(post(text), spec), text).toMatchObject({ kind: "bad-field" });
    }
    for (const text of ["{", " ", "{'max':1}"]) {
      expect(await readJson(post(text), spec), text).toMatchObject({ kind: "bad-body" });
    }
    expect(await readJson(post(Uint8Array.of(0x22, 0xff, 0x22)), spec)).toMatchObject({ kind: "bad-body" });
  });
});

describe("URLs", () => {
  const limits = { minimum: 1, maximum: 1_000, default: 10 };

  it("[QUE10] [OPS1] numbers of a query are whole and within limits", () => {
    const read = (query: string) => queryInteger(new URL(`http://broker/${query}`), "limit", limits);
    expect(read("")).toBe(10);
    expect(read("?limit=1000")).toBe(1_000);
    for (const query of ["0", "1001", "-1", "ten", "", "1.5", "1e2", "0x10", " 5x"]) {
      expect(read(`?limit=${query}`), query).toMatchObject({
        kind: "bad-field",
        message: expect.stringContaining("limit"),
      });
    }
  });

  it("[ADR9] [HTTP15] names are percent-decoded exactly once", () => {
    for (const name of ["a/b", "a%2Fb", "100%", "%25", "?a=b&c#d", "日本", " ", "..a", "a\u0001b"]) {
      expect(pathPart(new URL(`http://broker/v1/queues/${encodeURIComponent(name)}/messages`), 3)).toBe(name);
    }
    for (const part of ["%", "%zz", "%E0%A4%A", "a%f"]) {
      expect(pathPart(new URL(`http://broker/v1/queues/${part}`), 3), part).toMatchObject({
        kind: "bad-address",
      });
    }
  });
});
