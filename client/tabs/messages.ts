// What tabs of one origin say to each other.

/** From a tab to its leader. */
export type Upward =
  /** A socket of this tab wants to be open. */
  | { kind: "join"; tab: number; life: string; session: string | undefined; subs: number[] }
  /** A frame. */
  | { kind: "text"; tab: number; life: string; text: string }
  /** The socket was given up by its owner. */
  | { kind: "leave"; tab: number; life: string };

/** A tab's wish to be connected, with what it remembers of the connection before. */
export type Join = Extract<Upward, { kind: "join" }>;

/** From the leader to a tab; `life` is the socket that it is for, and no other of that tab takes it. */
export type Downward =
  /** A new leader: whoever is connected through another one joins anew. */
  | { kind: "leader"; leader: string }
  /** What the tab had at the broker has ended: its next connection goes on from nothing. */
  | { kind: "forget"; leader: string }
  /** The join was heard; there is no connection yet. */
  | { kind: "wait"; leader: string; life: string }
  /** The socket is open. */
  | { kind: "open"; leader: string; life: string }
  /** A frame; with the welcome, the broker's session. */
  | { kind: "text"; leader: string; life: string; text: string; session?: string | undefined }
  | { kind: "close"; leader: string; life: string; code: number; reason: string };

/** A downward message without its sender. */
export type Word = Downward extends infer Each
  ? Each extends Downward
    ? Omit<Each, "leader">
    : never
  : never;

/** The closing code of a socket whose leader is gone: come again. */
export const CLOSE_AGAIN = 1012;
/** The closing code for what the tab did wrong: do not come again. */
export const CLOSE_BAD_FRAME = 4400;
