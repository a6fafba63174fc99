// Judges commits: tokens that are moved from queue to queue, each move the settle of one message and the publish of the next.
import type { Breach } from "./fault-names.ts";

/** One message that a commit settles; the one that it publishes instead is a hop further. */
export interface Move {
  queue: string;
  delivery: string;
  token: number;
  /** How often the token was moved before. */
  hop: number;
}

/** A commit, and every answer that its maker got to it: none as long as its outcome is not known. */
export interface Commit {
  moves: Move[];
  /** Whether it also publishes a note of each move. */
  noted: boolean;
  /** `made`: carried out just now; `again`: carried out before; `conflict`: not, as a lease was lost. */
  answers: ("made" | "again" | "conflict")[];
}

/** A token's message in a queue. */
export interface Place {
  queue: string;
  token: number;
  hop: number;
}

/** The note of a move. */
export interface Note {
  token: number;
  hop: number;
  delivery: string;
}

/** All that is known when it is quiet. */
export interface MoveHistory {
  /** Each token with the hop that it had at the beginning. */
  tokens: ReadonlyMap<number, number>;
  commits: readonly Commit[];
  places: readonly Place[];
  notes: readonly Note[];
}

/** What a correct broker could not have caused. */
export interface MoveFinding {
  breach: Breach;
  what: string;
  events: unknown[];
}

type Report = (breach: Breach, what: string) => void;

const isMade = ({ answers }: Commit) => answers.some((answer) => answer !== "conflict");

/** Finds what a correct broker could not have caused; an empty array when there is nothing. */
export function checkMoves(history: MoveHistory): MoveFinding[] {
  const found = history.commits.flatMap(checkAnswers);
  for (const [token, first] of history.tokens) {
    const commits = history.commits.filter(({ moves }) => moves.some((move) => move.token === token));
    const notes = history.notes.filter((note) => note.token === token);
    const places = history.places.filter((place) => place.token === token);
    const report: Report = (breach, what) => {
      found.push({ breach, what: `token ${token}: ${what}`, events: [...commits, ...notes, ...places] });
    };
    const [place] = places;
    if (place === undefined) report("lost", "it is nowhere");
    else if (places.length > 1) report("duplicated", `it is there ${places.length} times`);
    else if (place.hop < first) report("resurrected", `it is back at hop ${place.hop} of ${first}`);
    else new Way(token, commits, notes, report).check(first, place.hop);
  }
  return found;
}

/** The same commit has one outcome, and takes effect at its first. */
function checkAnswers(commit: Commit): MoveFinding[] {
  const { answers } = commit;
  const say = (breach: Breach, what: string) => [{ breach, what, events: [commit] }];
  if (isMade(commit) && answers.includes("conflict")) return say("unfenced", "a commit was made and refused");
  if (answers.filter((answer) => answer === "made").length > 1)
    return say("duplicated", "a commit was made twice");
  return [];
}

/** The way of one token: who made each of its moves. */
class Way {
  readonly #token: number;
  readonly #commits: Commit[];
  readonly #notes: Note[];
  readonly #report: Report;

  constructor(token: number, commits: Commit[], notes: Note[], report: Report) {
    this.#token = token;
    this.#commits = commits;
    this.#notes = notes;
    this.#report = report;
  }

  check(first: number, last: number): void {
    for (let hop = first; hop < last; hop += 1) this.#checkMove(hop);
    for (const commit of this.#commits) {
      const { hop } = this.#moveOf(commit);
      if (isMade(commit) && hop >= last)
        this.#report("lost", `its move at hop ${hop} was made and is undone`);
    }
    for (const { hop } of this.#notes) {
      if (hop < first) this.#report("duplicated", `an old move, at hop ${hop}, was noted again`);
      if (hop >= last) this.#report("unfenced", `a move at hop ${hop} was noted and not made`);
    }
  }

  /** A move that took place: one commit made it, and whether that noted it is known unless several may have been it. */
  #checkMove(hop: number): void {
    const tried = this.#commits.filter((commit) => this.#moveOf(commit).hop === hop);
    const made = tried.filter(isMade);
    const unknown = tried.filter(({ answers }) => answers.length === 0);
    const possible = made.length > 0 ? made : unknown;
    const notes = this.#notes.filter((note) => note.hop === hop);
    if (made.length > 1) this.#report("duplicated", `${made.length} commits made its move at hop ${hop}`);
    if (possible.length === 0)
      this.#report("unfenced", `it was moved at hop ${hop} by no commit that may have`);
    if (notes.length > 1) this.#report("duplicated", `its move at hop ${hop} is noted ${notes.length} times`);
    if (notes.length === 0 && possible.length > 0 && possible.every(({ noted }) => noted)) {
      this.#report("lost", `its move at hop ${hop} is not noted`);
    }
    const may = possible.filter(({ noted }) => noted).map((commit) => this.#moveOf(commit).delivery);
    if (notes.some(({ delivery }) => !may.includes(delivery))) {
      this.#report("unfenced", `its move at hop ${hop} is noted by a commit that did not make it`);
    }
  }

  #moveOf({ moves }: Commit): Move {
    return moves.find(({ token }) => token === this.#token)!;
  }
}
