// Pushing without a broker: which hosts may be called, and what a handler's answers mean.
import { describe, expect, it } from "vitest";
import { isRefusal } from "../../worker/errors.ts";
import { EMPTY_MESSAGE, JSON_BODY } from "../../worker/message/record.ts";
import { callService, type HandlerAnswer } from "../../worker/push/service.ts";
import { pushSpec } from "../../worker/push/spec.ts";
import { signature } from "../../worker/push/webhook.ts";

const pushed = [1, 2, 3].map((seq) => ({
  ...{ queue: "q", epoch: 5, attempt: 1 },
  message: { ...EMPTY_MESSAGE, seq, messageId: `m${seq}`, bodyKind: JSON_BODY, body: `{"n":${seq}}` },
}));

const answering = (answers: HandlerAnswer[] | undefined) => ({ handle: async () => answers });

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
    const odd = [{ outcome: "maybe" }] as unknown as HandlerAnswer[];
    expect((await callService(answering(odd), pushed, 1_000))[0]).toMatchObject({ outcome: "fail" });
  });
});
