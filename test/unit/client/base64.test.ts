import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fromBase64, toBase64 } from "../../../client/base64.ts";

describe("base64", () => {
  it("[PUB6] encodes like the rest of the world, and decodes what it encoded", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const text = toBase64(bytes);
        expect(text).toBe(Buffer.from(bytes).toString("base64"));
        expect(fromBase64(text)).toEqual(bytes);
      }),
    );
  });

  it("[PUB6] takes a message of the largest size", () => {
    const bytes = crypto.getRandomValues(new Uint8Array(65_536));
    const large = new Uint8Array(1_048_576).map((_, at) => bytes[at % 65_536]! ^ (at >> 16));
    expect(Buffer.from(fromBase64(toBase64(large))).equals(large)).toBe(true);
  });
});
