// What the writer writes, the reader reads: every packet, however the bytes are cut into frames.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Writer } from "../../../../worker/bytes/writer.ts";
import { answer, appendAnswer, pingresp } from "../../../../worker/protocol/mqtt/codec/answers.ts";
import type { Packet, Publish, Version } from "../../../../worker/protocol/mqtt/codec/packets.ts";
import {
  appendPublish,
  publishTemplate,
  withPacketId,
} from "../../../../worker/protocol/mqtt/codec/publish-template.ts";
import { PacketReader } from "../../../../worker/protocol/mqtt/codec/reader.ts";
import { encode } from "../../../../worker/protocol/mqtt/codec/writer.ts";
import { concat, connect, packet, publish, readAll, reader, topic, VERSIONS } from "./packets.ts";

describe("round trip", () => {
  for (const version of VERSIONS) {
    for (const role of ["server", "client"] as const) {
      it(`[MQP1] every packet of version ${version} that a ${role} reads`, () => {
        fc.assert(
          fc.property(packet(version, role), (sent) => {
            expect(readAll(reader(role, version), encode(sent, version))).toEqual([sent]);
          }),
          { numRuns: 400 },
        );
      });
    }

    it(`[MQP1] CONNECT of version ${version} sets the reader's version`, () => {
      fc.assert(
        fc.property(connect(version), (sent) => {
          const fresh = reader("server");
          expect(fresh.version).toBe(4);
          expect(readAll(fresh, encode(sent, version))).toEqual([sent]);
          expect(fresh.version).toBe(version);
        }),
        { numRuns: 300 },
      );
    });
  }
});

/** A CONNECT and what may follow it. */
function conversation(version: Version) {
  return fc
    .tuple(connect(version), fc.array(packet(version, "server"), { maxLength: 5 }))
    .map(([first, others]) => [first, ...others]);
}

const anyConversation = fc
  .constantFrom(...VERSIONS)
  .chain((version) => conversation(version).map((packets) => ({ version, packets })));

describe("frames", () => {
  it("[MQP2] a stream cut at every byte gives the same packets", () => {
    fc.assert(
      fc.property(anyConversation, ({ version, packets }) => {
        const stream = concat(...packets.map((one) => encode(one, version)));
        for (let cut = 0; cut <= stream.length; cut += stream.length > 400 ? 7 : 1) {
          const frames = [stream.subarray(0, cut), stream.subarray(cut)];
          expect(readAll(reader("server"), ...frames)).toEqual(packets);
        }
        const single = Array.from(stream, (_, at) => stream.subarray(at, at + 1));
        expect(readAll(reader("server"), ...single)).toEqual(packets);
      }),
      { numRuns: 30 },
    );
  });

  it("[MQP2] packets read later are not changed by frames that come after", () => {
    fc.assert(
      fc.property(anyConversation, fc.array(fc.nat(60), { minLength: 1, maxLength: 20 }), (all, sizes) => {
        const stream = concat(...all.packets.map((one) => encode(one, all.version)));
        const mine = reader("server");
        let at = 0;
        for (let i = 0; at < stream.length; i++) {
          const size = sizes[i % sizes.length]! + 1;
          mine.push(stream.subarray(at, at + size));
          at += size;
        }
        expect(readAll(mine, new Uint8Array(0))).toEqual(all.packets);
      }),
    );
  });

  it("[MQP3] a reader restored from the bytes of a packet begun goes on", () => {
    fc.assert(
      fc.property(conversation(5), fc.nat(10_000), (packets, seed) => {
        const [first, ...others] = packets as [Packet, ...Packet[]];
        const stream = concat(...others.map((one) => encode(one, 5)));
        const cut = seed % (stream.length + 1);
        const before = reader("server");
        const found = readAll(before, encode(first, 5), stream.subarray(0, cut));
        const restored = reader("server", before.version);
        const { rest } = before;
        expect(rest.byteLength).toBe(rest.buffer.byteLength);
        found.push(...readAll(restored, rest, stream.subarray(cut)));
        expect(found).toEqual(packets);
      }),
    );
  });

  it("[MQP2] the payload of a packet within one frame is a view of it", () => {
    const fields = { topic: "a", payload: new Uint8Array(5_000), qos: 0, retain: false, dup: false } as const;
    const { bytes } = publishTemplate(fields, 4);
    const [found] = readAll(reader("server", 4), concat(bytes, bytes)) as Publish[];
    expect(found!.payload.byteLength).toBe(5_000);
    expect(found!.payload.buffer.byteLength).toBe(2 * bytes.length);
  });

  it("[MQP2] a large packet in many small frames", () => {
    const payload = Uint8Array.from({ length: 300_000 }, (_, i) => i * 7);
    const fields = { topic: "big", payload, qos: 1, retain: false, dup: false } as const;
    const bytes = withPacketId(publishTemplate(fields, 4), 9, false);
    const frames = Array.from({ length: Math.ceil(bytes.length / 3) }, (_, i) =>
      bytes.subarray(3 * i, 3 * i + 3),
    );
    expect(readAll(reader("server", 4), ...frames)).toEqual([{ type: "publish", packetId: 9, ...fields }]);
  });
});

describe("prepared packets", () => {
  for (const version of VERSIONS) {
    it(`[MQP20] a template with its packet identifier is the packet of version ${version}`, () => {
      fc.assert(
        fc.property(publish(version, "client"), (sent) => {
          const { packetId, ...fields } = sent as Publish;
          const template = publishTemplate({ ...fields, dup: false }, version);
          const before = template.bytes.slice();
          const whole = encode(sent, version);
          expect(withPacketId(template, packetId, fields.dup)).toEqual(whole);
          const frame = new Writer(1);
          frame.u8(1);
          appendPublish(frame, template, packetId, fields.dup);
          appendAnswer(frame, "pubrel", packetId || 1);
          expect(frame.take()).toEqual(concat(Uint8Array.of(1), whole, answer("pubrel", packetId || 1)));
          expect(template.bytes).toEqual(before);
        }),
      );
    });
  }

  it("[MQP19] answers with reason 0 and PINGRESP are the same in every version", () => {
    for (const version of VERSIONS) {
      for (const type of ["puback", "pubrec", "pubrel", "pubcomp"] as const) {
        expect(encode({ type, packetId: 513, reasonCode: 0 }, version)).toEqual(answer(type, 513));
      }
      expect(encode({ type: "pingresp" }, version)).toEqual(pingresp());
    }
    expect([...answer("pubrel", 513)]).toEqual([0x62, 2, 2, 1]);
  });
});

describe("the writer", () => {
  it("[MQP19] properties are dropped before 5.0, and have length 0 when there are none", () => {
    const fields = { topic: "a", payload: Uint8Array.of(7), qos: 0, retain: true, dup: false } as const;
    const properties = { contentType: "x" };
    expect([...publishTemplate({ ...fields, properties }, 4).bytes]).toEqual([0x31, 4, 0, 1, 97, 7]);
    expect([...publishTemplate(fields, 5).bytes]).toEqual([0x31, 5, 0, 1, 97, 0, 7]);
    const suback = { type: "suback", packetId: 1, reasonCodes: [2, 0x87], properties } as const;
    expect([...encode({ ...suback, reasonCodes: [2, 0x87] }, 4)]).toEqual([0x90, 4, 0, 1, 2, 0x80]);
    expect([...encode({ ...suback, reasonCodes: [2, 0x87] }, 5)]).toEqual([0x90, 5, 0, 1, 0, 2, 0x87]);
  });

  it("[MQP19] before 5.0 a CONNACK carries the return code that says the same", () => {
    const code = (reasonCode: number, version: Version) =>
      encode({ type: "connack", sessionPresent: false, reasonCode }, version)[3];
    const pairs = [
      [0, 0],
      [0x84, 1],
      [0x85, 2],
      [0x88, 3],
      [0x80, 3],
      [0x86, 4],
      [0x87, 5],
    ] as const;
    for (const [reasonCode, expected] of pairs) {
      expect([code(reasonCode, 3), code(reasonCode, 4), code(reasonCode, 5)]).toEqual([
        expected,
        expected,
        reasonCode,
      ]);
    }
    const present = { type: "connack", sessionPresent: true, reasonCode: 0 } as const;
    expect([encode(present, 3)[2], encode(present, 4)[2]]).toEqual([0, 1]);
  });

  it("[MQP19] U+0000 is never written, and long properties get a longer length", () => {
    fc.assert(
      fc.property(topic, fc.integer({ min: 1, max: 17_000 }), (name, length) => {
        const reasonString = `\0${"r".repeat(length)}`;
        const properties = { userProperties: [[name, "v"]] as [string, string][], reasonString };
        const sent = encode({ type: "disconnect", reasonCode: 0x82, properties }, 5);
        const expected = { ...properties, reasonString: reasonString.replace("\0", "\ufffd") };
        expect(readAll(reader("client", 5), sent)).toEqual([
          { type: "disconnect", reasonCode: 0x82, properties: expected },
        ]);
      }),
      { numRuns: 50 },
    );
  });

  it("[MQP19] what does not fit into the format is a bug and throws", () => {
    const long = "x".repeat(65_536);
    expect(() => encode({ type: "unsubscribe", packetId: 1, filters: [long] }, 4)).toThrow(RangeError);
    const will = { topic: "w", payload: new Uint8Array(65_536), qos: 0, retain: false } as const;
    const connecting = {
      type: "connect",
      version: 4,
      clientId: "c",
      cleanStart: true,
      keepAlive: 0,
    } as const;
    expect(() => encode({ ...connecting, will }, 4)).toThrow(RangeError);
  });
});

describe("the limit", () => {
  it("[MQP4] a packet over the limit is refused as soon as its header is known", () => {
    const mine = new PacketReader({ maxPacketBytes: 100, version: 5 });
    // 98 bytes follow: 100 with the header.
    expect(readAll(mine, Uint8Array.of(0x30, 98))).toEqual([]);
    const other = new PacketReader({ maxPacketBytes: 100, version: 5 });
    expect(readAll(other, Uint8Array.of(0x30, 0xff))).toEqual([]);
    expect(readAll(other, Uint8Array.of(0xff, 0xff, 0x7f))).toEqual([
      {
        type: "malformed",
        reason: 0x95,
        clause: "MQTT-3.2.2-15",
        message: expect.stringContaining("268435460"),
      },
    ]);
    const third = new PacketReader({ maxPacketBytes: 100, version: 5 });
    expect(readAll(third, Uint8Array.of(0x30, 99))[0]).toMatchObject({ reason: 0x95 });
  });
});
