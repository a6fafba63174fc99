// Pushing without a broker: which hosts may be called, and what a handler's answers mean.
import { describe, expect, it } from "vitest";
import { isRefusal } from "../../worker/errors.ts";
import { DeliveryWriter } from "../../worker/link/deliveries.ts";
import type { Settlement } from "../../worker/link/settlement.ts";
import { EMPTY_MESSAGE, JSON_BODY } from "../../worker/message/record.ts";
import type { HandlerAnswer, MessageHandler } from "../../worker/push/handler.ts";
import { Pusher } from "../../worker/push/pusher.ts";
import { callService } from "../../worker/push/service.ts";
import { pushSpec } from "../../worker/push/spec.ts";
import { signature } from "../../worker/push/webhook.ts";
import { records } from "../support/machine.ts";

const pushed = [1, 2, 3].map((seq) => ({
  ...{ queue: "q", mark: "a1", epoch: 5, attempt: 1 },
  message: { ...EMPTY_MESSAGE, seq, messageId: `m${seq}`, bodyKind: JSON_BODY, body: `{"n":${seq}}` },
}));

const answering = (answers: unknown) => ({ handle: async () => answers }) as MessageHandler;

describe("the hosts that may be called", () => {
  it("[PSH10] are those of DUNLIN_PUSH_HOSTS, if it is set", () => {
    const allowed = (url: string, hosts: string | undefined) =>
      !isRefusal(pushSpec({ url }, { hosts, hasService: () => false }));
    expect(allowed("https://anywhere.example/", undefined)).toBe(true);
    const hosts = "hooks.example.com, .partner.example,127.0.0.1:9000";
    expect(allowed("https://hooks.example.com/a", hosts)).toBe(true);
    expect(allowed("https://a.partner.example/", hosts)).toBe(true);
    expect(allowed("http://127.0.0.1:9000/", hosts)).toBe(true);
    for (const url of [
      "https://evil.example/",
      "https://partner.example.evil/",
      "https://xpartner.example/",
      "http://127.0.0.1:9001/",
    ]) {
      expect(allowed(url, hosts), url).toBe(false);
    }
  });
});

describe("a push that was set when more hosts were allowed", () => {
  it("[PSH10] calls nobody, and fails with the reason", async () => {
    const settled = Promise.withResolvers<Settlement[]>();
    const owner = { queue: "q", mark: "a1", hosts: "other.example", service: () => undefined };
    const pusher = new Pusher({ ...owner, settle: settled.resolve });
    const spec = {
      url: "http://127.0.0.1:9/",
      secret: "",
      headers: {},
      service: "",
      concurrency: 1,
      timeoutMs: 1_000,
    };
    const packet = new DeliveryWriter(5);
    const handle = { ref: 1, generation: 1, position: 7, lease: 9, attempt: 1, redelivered: false };
    packet.add(handle, records({ body: "x" }));
    pusher.take(spec, packet.take(), true);
    expect(await settled.promise).toMatchObject([
      { position: 7, lease: 9, outcome: "fail", reason: "this broker does not call 127.0.0.1:9" },
    ]);
    expect(pusher.figures).toMatchObject({ delivered: 0, failed: 1 });
  });
});

describe("the signature", () => {
  it("[PSH3] is the one of the specification's own example", async () => {
    const body = new TextEncoder().encode('{"test": 2432232314}');
    const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    expect(await signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body)).toBe(
      "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    );
  });
});

describe("a handler in another Worker", () => {
  it("[PSH11] settles all by saying nothing, or each by its answer", async () => {
    expect(await callService(answering(undefined), pushed, 1_000)).toEqual([
      { outcome: "ack" },
      { outcome: "ack" },
      { outcome: "ack" },
    ]);
    const answers: HandlerAnswer[] = [null, "release", { outcome: "fail", reason: "later", delayMs: 50 }];
    expect(await callService(answering(answers), pushed, 1_000)).toEqual([
      { outcome: "ack" },
      { outcome: "release" },
      { outcome: "fail", reason: "later", delayMs: 50 },
    ]);
  });

  it("[PSH11] fails all by throwing, or by an answer that is none", async () => {
    const broken = {
      handle: async () => {
        throw new Error("no stock");
      },
    };
    expect(await callService(broken, pushed, 1_000)).toMatchObject(
      pushed.map(() => ({ outcome: "fail", reason: expect.stringContaining("no stock") })),
    );
  });

  it("[PSH11] fails all by an answer that is neither nothing nor one for each", async () => {
    for (const odd of [[], [null], [null, null, null, null], "fail", { outcome: "fail" }, true, 0]) {
      expect(await callService(answering(odd), pushed, 1_000), JSON.stringify(odd)).toEqual(
        pushed.map(() => ({ outcome: "fail", reason: expect.stringContaining("the handler answered") })),
      );
    }
    const odd = [null, { outcome: "maybe" }, 7];
    expect(await callService(answering(odd), pushed, 1_000)).toMatchObject([
      { outcome: "ack" },
      { outcome: "fail", reason: 'the handler answered {"outcome":"maybe"}' },
      { outcome: "fail" },
    ]);
  });
});
