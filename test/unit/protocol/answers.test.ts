// The answers to one frame: in the order of its objects, whatever order they come in.
import { describe, expect, it } from "vitest";
import { Connection, type Protocol } from "../../../worker/gateway/connection.ts";
import { Writes } from "../../../worker/gateway/writes.ts";
import { Answers } from "../../../worker/protocol/json/answers.ts";
import { joinFrames } from "../../../worker/protocol/json/render.ts";

function connection(): { connection: Connection; sent: string[] } {
  const sent: string[] = [];
  const socket = {
    readyState: 1,
    send: (text: string | Uint8Array) => void sent.push(String(text)),
    close: () => undefined,
  };
  const protocol = { join: (chunks) => joinFrames(chunks.map(String)) } as Protocol;
  const facts = { id: "c", protocol, urlNamespace: "", principal: undefined };
  const writes = new Writes({ remember: () => undefined, sent: () => undefined, flush: () => undefined });
  return { connection: new Connection(socket, writes, facts), sent };
}

describe("the answers to one frame", () => {
  it("[FRM3] [FRM4] an answer waits for those before it, and they leave as one frame", () => {
    const { connection: client, sent } = connection();
    const answers = new Answers(client, 3);
    answers.at(2)("3");
    answers.at(1)("2");
    client.flush();
    expect(sent).toEqual([]);
    answers.at(0)("1");
    client.flush();
    expect(sent).toEqual(["[1,2,3]"]);
  });

  it("[FRM3] [FRM16] an object without an answer holds nobody up, and what is complete leaves at once", () => {
    const { connection: client, sent } = connection();
    const answers = new Answers(client, 3);
    expect(client.waiting).toBe(3);
    answers.at(0)(undefined);
    answers.at(1)("2");
    client.flush();
    expect(sent).toEqual(["2"]);
    answers.at(2)("3");
    client.flush();
    expect(sent).toEqual(["2", "3"]);
    expect(client.waiting).toBe(0);
  });
});
