// What goes wrong in a round, and when: drawn from the seed alone, so that the same seed gives the same plan.
import { createRandom, type Random } from "../support/random.ts";

/** One disturbance, `atMs` after the round's begin. */
export type Action = { atMs: number } & (
  | { do: "cut"; client: string }
  | { do: "evict"; room: string; name: string; moment: "now" | "before" | "after" }
  | { do: "kill" }
  /** The broker's clock differs by so much from the machine's from then on. */
  | { do: "clock"; offsetMs: number }
);

/** What there is to disturb. */
export interface Targets {
  clients: readonly string[];
  rooms: readonly { room: string; name: string }[];
  gateways: number;
}

const MOST_PAUSE_MS = 700;
/** Below the dedup window by far, and so that no lease of a session that is away ends by it alone. */
const MOST_OFFSET_MS = 12_000;

/** The disturbances of one round. */
export function planRound(seed: number, round: number, forMs: number, targets: Targets): Action[] {
  const random = createRandom(seed * 1_009 + round);
  const actions: Action[] = [];
  // Each round has a kill and a step forward, however short it is.
  const killAtMs = random.integer(Math.floor(forMs * 0.3), Math.floor(forMs * 0.8));
  const stepAtMs = random.integer(Math.floor(forMs * 0.2), Math.floor(forMs * 0.9));
  actions.push({ atMs: killAtMs, do: "kill" });
  actions.push({ atMs: stepAtMs, do: "clock", offsetMs: random.integer(MOST_OFFSET_MS / 2, MOST_OFFSET_MS) });
  for (let atMs = random.integer(200, 800); atMs < forMs; atMs += random.integer(50, MOST_PAUSE_MS)) {
    actions.push({ atMs, ...draw(random, targets) });
  }
  return actions.sort((a, b) => a.atMs - b.atMs);
}

type Drawn<T> = T extends unknown ? Omit<T, "atMs"> : never;

function draw(random: Random, { clients, rooms, gateways }: Targets): Drawn<Action> {
  const fate = random.next();
  if (fate < 0.5) return { do: "cut", client: random.pick(clients) };
  if (fate < 0.85)
    return { do: "evict", ...random.pick(rooms), moment: random.pick(["now", "before", "after"]) };
  if (fate < 0.91) {
    return {
      do: "evict",
      room: "gateway",
      name: `gateway-${random.integer(0, gateways - 1)}`,
      moment: "now",
    };
  }
  if (fate < 0.93) return { do: "evict", room: "directory", name: "default", moment: "now" };
  if (fate < 0.95) return { do: "kill" };
  return { do: "clock", offsetMs: random.integer(-2_000, MOST_OFFSET_MS) };
}
