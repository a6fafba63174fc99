import { afterEach, describe, expect, it, vi } from "vitest";
import type { DunlinError } from "../../../client/index.ts";
import { type Scripted, scripted, until } from "./scripted-socket.ts";

let open: Scripted[] = [];
const client = (...options: Parameters<typeof scripted>) => {
  const made = scripted(...options);
  open.push(made);
  return made;
};

afterEach(async () => {
  for (const { dunlin } of open) await dunlin.close({ timeoutMs: 0 });
  open = [];
  vi.restoreAllMocks();
});

const errorsOf = ({ dunlin }: Scripted) => {
  const errors: DunlinError[] = [];
  dunlin.on("error", (error) => errors.push(error));
  return errors;
};

describe("opening", () => {
  it("[CLI1] goes to /ws with the client id and the namespace, and says hello before anything else", async () => {
    const tab = client({ client: "tab 1", namespace: "team", token: "secret", sessionExpirySeconds: 90 });
    void tab.dunlin
      .queue("jobs")
      .send(1)
      .catch(() => {});
    const socket = await tab.socket();
    expect(socket.url).toBe("ws://broker.test/ws?client=tab+1&ns=team");
    expect(socket.protocols).toBe("dunlin.v1.json");
    socket.open();
    expect(await socket.next()).toEqual([
      { op: "hello", id: 1, client: "tab 1", token: "secret", session: { expirySeconds: 90 } },
    ]);
    expect(tab.dunlin.state).toBe("connecting");
    socket.welcome();
    expect(tab.dunlin.state).toBe("open");
    expect((await socket.next()).map(({ op }) => op)).toEqual(["publish"]);
  });

  it("[CLI1] ready() resolves with the first welcome, and at once afterwards", async () => {
    const tab = client();
    const ready = tab.dunlin.ready();
    await tab.opened();
    await ready;
    await tab.dunlin.ready();
  });

  it("[CLI1] gives a socket up on which hello gets no answer", async () => {
    const tab = client({ pingMs: 20 });
    const first = await tab.socket();
    first.open();
    const pong = setInterval(() => first.receive("pong"), 2);
    const second = await tab.socket(2);
    clearInterval(pong);
    expect(first.closedWith).toBe(4000);
    expect(second.sent).toEqual([]);
  });
});

describe("losing a socket", () => {
  for (const code of [1000, 1001, 1006, 1011, 1012, 4000, 4399]) {
    it(`[ERR5] [CLI1] reconnects after ${code}`, async () => {
      const tab = client();
      const states: string[] = [];
      tab.dunlin.on("state", (state) => states.push(state));
      (await tab.opened()).drop(code);
      await tab.opened(2);
      expect(states).toEqual(["open", "reconnecting", "open"]);
    });
  }

  for (const [code, kind] of [
    [4400, "bad-frame"],
    [4401, "unauthenticated"],
    [4403, "forbidden"],
    [4408, "no-hello"],
    [4409, "taken-over"],
    [4413, "frame-too-large"],
    [4429, "too-many"],
    [4999, "refused"],
  ] as const) {
    it(`[ERR5] [CLI1] ends with ${kind} after ${code}, for everything that waits`, async () => {
      const tab = client();
      const socket = await tab.opened();
      const sent = tab.dunlin.queue("jobs").send(1);
      const next = tab.dunlin.queue("jobs").consume().next();
      await socket.nextTexts();
      socket.drop(code, "because");
      const expected = { name: "DunlinError", code, kind, message: expect.stringContaining("because") };
      await expect(sent).rejects.toMatchObject(expected);
      await expect(next).rejects.toMatchObject(expected);
      await expect(tab.dunlin.ready()).rejects.toMatchObject(expected);
      await expect(tab.dunlin.queue("jobs").send(2)).rejects.toMatchObject(expected);
      expect(tab.dunlin.state).toBe("closed");
    });
  }

  it("[CLI1] does not reconnect when the broker's bye says so", async () => {
    const tab = client();
    const socket = await tab.opened();
    socket.receive({ op: "bye", reconnect: false });
    socket.drop(1000);
    expect(tab.dunlin.state).toBe("closed");
  });

  it("[CLI1] waits as long as the broker's bye asks", async () => {
    const tab = client();
    const socket = await tab.opened();
    socket.receive({ op: "bye", reconnect: true, afterMs: 300 });
    const droppedAtMs = performance.now();
    socket.drop(1012);
    await tab.socket(2);
    expect(performance.now() - droppedAtMs).toBeGreaterThanOrEqual(300);
  });

  it("[CLI1] waits longer with each attempt that fails", async () => {
    vi.spyOn(Math, "random").mockReturnValue(0);
    const tab = client();
    const errors = errorsOf(tab);
    const openedAtMs: number[] = [];
    for (let number = 1; number <= 5; number++) {
      const socket = await tab.socket(number);
      openedAtMs.push(performance.now());
      socket.dispatchEvent(
        Object.assign(new Event("error"), { message: "refused", error: new Error("refused") }),
      );
    }
    const waits = openedAtMs.slice(1).map((atMs, index) => atMs - openedAtMs[index]!);
    for (const [index, leastMs] of [25, 50, 100, 200].entries())
      expect(waits[index]).toBeGreaterThan(leastMs - 2);
    expect(errors.map(({ kind }) => kind)).toEqual(Array(5).fill("unreachable"));
  });

  it("[CLI13] ends with the broker's own words when hello is refused", async () => {
    const tab = client();
    const errors = errorsOf(tab);
    const ready = tab.dunlin.ready();
    const socket = await tab.socket();
    socket.open();
    socket.receive({
      op: "error",
      id: 1,
      code: 200,
      kind: "unauthenticated",
      message: "no token",
      retry: "none",
    });
    await expect(ready).rejects.toMatchObject({
      code: 200,
      kind: "unauthenticated",
      message: "no token",
      retry: "none",
    });
    expect(errors.map(({ kind }) => kind)).toEqual(["unauthenticated"]);
    expect(tab.dunlin.state).toBe("closed");
  });

  it("[CLI13] tries again when a refused hello may be repeated", async () => {
    const tab = client();
    const first = await tab.socket();
    first.open();
    first.receive({
      op: "error",
      id: 1,
      code: 501,
      kind: "unavailable",
      message: "restarting",
      retry: "now",
    });
    await tab.opened(2);
    expect(tab.dunlin.state).toBe("open");
  });
});

describe("listening", () => {
  it("[CLI13] a listener that throws stops neither the client nor other listeners, and one that is off hears nothing", async () => {
    const uncaught: unknown[] = [];
    const others = process.listeners("uncaughtException");
    process.removeAllListeners("uncaughtException");
    process.once("uncaughtException", (error) => uncaught.push(error));
    try {
      const tab = client();
      const heard: string[] = [];
      const off = tab.dunlin.on("state", () => {
        throw new Error("a mistake of the application");
      });
      tab.dunlin.on("state", (state) => heard.push(state))();
      tab.dunlin.on("state", (state) => heard.push(state));
      await tab.opened();
      await until(
        () => uncaught.length > 0,
        () => "no uncaught error",
      );
      off();
      expect(heard).toEqual(["open"]);
      expect(tab.dunlin.state).toBe("open");
      expect(uncaught).toMatchObject([{ message: "a mistake of the application" }]);
    } finally {
      for (const listener of others) process.on("uncaughtException", listener);
    }
  });
});

describe("liveness", () => {
  it("[CLI1] probes a silent connection, and stays when it answers", async () => {
    const tab = client({ pingMs: 40 });
    const socket = await tab.opened();
    for (let round = 0; round < 3; round++) {
      expect(await socket.nextTexts()).toEqual(["ping"]);
      socket.receive("pong");
    }
    expect(tab.dunlin.state).toBe("open");
  });

  it("[CLI1] gives a connection up that does not answer", async () => {
    const tab = client({ pingMs: 40 });
    const socket = await tab.opened();
    await tab.socket(2);
    expect(socket.sent.at(-1)).toBe("ping");
    expect(socket.closedWith).toBe(4000);
    expect(tab.dunlin.state).toBe("reconnecting");
  });

  it("[CLI1] probes sooner while an answer is outstanding", async () => {
    const tab = client({ pingMs: 400 });
    const socket = await tab.opened();
    const sentAtMs = performance.now();
    const sent = tab.dunlin.queue("jobs").send(1);
    await until(
      () => socket.sent.includes("ping"),
      () => "no ping",
    );
    expect(performance.now() - sentAtMs).toBeLessThan(400);
    socket.confirm(socket.frames());
    await sent;
  });
});

describe("token", () => {
  it("[CLI9] asks the callback for each connection", async () => {
    let calls = 0;
    const tab = client({ token: async () => `token ${++calls}` });
    const first = await tab.opened();
    expect(first.frames()[0]).toMatchObject({ op: "hello", token: "token 1" });
    first.drop();
    const second = await tab.opened(2);
    expect(second.frames()[0]).toMatchObject({ op: "hello", token: "token 2" });
  });

  it("[CLI9] sends a fresh token on the live connection before the old one expires", async () => {
    let calls = 0;
    const tab = client({ token: async () => `token ${++calls}` });
    const socket = await tab.opened();
    socket.receive({ op: "event", kind: "expiring" });
    const [auth] = await socket.next();
    expect(auth).toEqual({ op: "auth", id: expect.any(Number), token: "token 2" });
    socket.receive({ op: "ok", id: auth!.id! });
    expect(tab.dunlin.state).toBe("open");
  });

  it("[CLI9] a callback that fails is reported, and asked again for the next attempt", async () => {
    let calls = 0;
    const tab = client({
      token: () => {
        calls += 1;
        if (calls < 3) throw `no luck ${calls}`;
        return "token";
      },
    });
    const errors = errorsOf(tab);
    const socket = await tab.opened();
    expect(errors.map(({ kind, message }) => [kind, message])).toEqual([
      ["token", "The token callback failed: no luck 1"],
      ["token", "The token callback failed: no luck 2"],
    ]);
    expect(socket.frames()[0]).toMatchObject({ op: "hello", token: "token" });
  });
});

describe("closing", () => {
  it("[CLI11] says bye once everything is answered, and opens no further socket", async () => {
    const tab = client();
    const socket = await tab.opened();
    const sent = tab.dunlin.queue("jobs").send(1);
    const closed = tab.dunlin.close();
    socket.confirm(await socket.next());
    await sent;
    await closed;
    expect(socket.sent.at(-1)).toBe('{"op":"bye"}');
    expect(socket.closedWith).toBe(1000);
    expect(tab.dunlin.state).toBe("closed");
  });

  it("[CLI2] rejects what has no confirm in time", async () => {
    const tab = client();
    await tab.socket();
    const sent = tab.dunlin.queue("jobs").send(1);
    await Promise.all([
      tab.dunlin.close({ timeoutMs: 10 }),
      expect(sent).rejects.toMatchObject({ code: 0, kind: "closed" }),
    ]);
    await expect(tab.dunlin.ready()).rejects.toMatchObject({ kind: "closed" });
  });
});
