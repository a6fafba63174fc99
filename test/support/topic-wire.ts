// What tests of topics over JSON frames do again and again: subscribe, publish, take messages with the gaps told between them.
import type { WireClient, WireFrame } from "./wire-client.ts";

/** Subscribes and returns the answer. */
export function listen(
  wire: WireClient,
  sub: number,
  filter: string,
  fields: Record<string, unknown> = {},
): Promise<WireFrame> {
  return wire.ok({ op: "subscribe", sub, to: `topic:${filter}`, ...fields });
}

/** Publishes a body and returns the receipt. */
export function tell(
  wire: WireClient,
  topic: string,
  body: unknown,
  fields: Record<string, unknown> = {},
): Promise<WireFrame> {
  return wire.ok({ op: "publish", to: `topic:${topic}`, body, ...fields });
}

/** Publishes the numbers from `from` to `to` as bodies, in one frame, and returns the receipts. */
export function tellNumbers(wire: WireClient, topic: string, from: number, to: number): Promise<WireFrame[]> {
  const frames = Array.from({ length: to - from + 1 }, (_, i) => ({
    op: "publish",
    to: `topic:${topic}`,
    body: from + i,
  }));
  return Promise.all(wire.requestAll(frames));
}

/** Takes `count` messages of a subscription. */
export async function hear(wire: WireClient, sub: number, count: number): Promise<WireFrame[]> {
  const heard: WireFrame[] = [];
  while (heard.length < count) heard.push(await wire.nextMessage(sub));
  return heard;
}

/** Takes the messages of a subscription until the one with this seq, and the sum of what lag events say was skipped. */
export async function hearUntil(wire: WireClient, sub: number, seq: number) {
  const seqs: number[] = [];
  /** Numbers that neither came nor were told of before the message behind them. */
  let untold = 0;
  let skipped = 0;
  let expected: number | undefined;
  while (seqs.at(-1) !== seq) {
    const frame = await wire.next(
      (push) => push.sub === sub && (push.op === "message" || push.kind === "lag"),
    );
    if (frame.op === "event") {
      skipped += frame.skipped as number;
      if (expected !== undefined) expected += frame.skipped as number;
    } else {
      if (expected !== undefined) untold += frame.seq! - expected;
      expected = frame.seq! + 1;
      seqs.push(frame.seq!);
    }
  }
  return { seqs, skipped, untold };
}

/** Takes the event that answers an entry of hello's `resume`. */
export function resumed(wire: WireClient, sub: number): Promise<WireFrame> {
  return wire.next((push) => push.op === "event" && push.kind === "resumed" && push.sub === sub);
}
