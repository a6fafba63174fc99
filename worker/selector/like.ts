// SQL's LIKE in time that grows with the text alone, whatever the pattern: all places of the pattern are followed at once.

const PERCENT = 0x25;
const UNDERSCORE = 0x5f;
const WORD_BITS = 32;

/** A pattern taken apart: code points, -1 for any, and whether anything may stand before and after each. */
interface Pattern {
  points: number[];
  /** `loops[j]`: after the first j points, any text may follow before the next. */
  loops: boolean[];
}

/**
 * Makes the test of a LIKE pattern: `%` stands for any text, `_` for one character; after the escape character either of
 * them, and the escape character itself, stands for itself.
 *
 * @param escaper one character, or "" for none
 * @returns the test; undefined when the escape character stands before anything else
 * @example likeTest("1_3", "")!("123") // true
 * @example likeTest("\\_%", "\\")!("_foo") // true
 */
export function likeTest(pattern: string, escaper: string): ((text: string) => boolean) | undefined {
  const parsed = parsePattern(pattern, escaper);
  if (parsed === undefined) return undefined;
  return simpleTest(parsed) ?? anyTest(parsed);
}

function parsePattern(pattern: string, escaper: string): Pattern | undefined {
  const points: number[] = [];
  const loops = [false];
  const escapePoint = escaper === "" ? -1 : escaper.codePointAt(0)!;
  let escaped = false;
  for (const sign of pattern) {
    const point = sign.codePointAt(0)!;
    const wild = point === PERCENT || point === UNDERSCORE;
    if (escaped) {
      if (!wild && point !== escapePoint) return undefined;
      points.push(point);
      loops.push(false);
      escaped = false;
    } else if (point === escapePoint) {
      escaped = true;
    } else if (point === PERCENT) {
      loops[points.length] = true;
    } else {
      points.push(point === UNDERSCORE ? -1 : point);
      loops.push(false);
    }
  }
  return escaped ? undefined : { points, loops };
}

/** Plain text with at most a `%` at one end is what most patterns are. */
function simpleTest({ points, loops }: Pattern): ((text: string) => boolean) | undefined {
  if (points.includes(-1)) return undefined;
  const literal = points.map((point) => String.fromCodePoint(point)).join("");
  const last = points.length;
  const stars = loops.filter(Boolean).length;
  if (stars === 0) return (text) => text === literal;
  if (stars > 1) return undefined;
  if (loops[last]) return (text) => text.startsWith(literal);
  return loops[0] ? (text) => text.endsWith(literal) : undefined;
}

/* Bit j of the state: the first j points of the pattern match what was read. A step moves each bit on if the character fits the
 * next point, and keeps it where a % stands. Characters that are not in the pattern fit only its `_`. */
function anyTest({ points, loops }: Pattern): (text: string) => boolean {
  const size = Math.floor(points.length / WORD_BITS) + 1;
  const bits = (at: (place: number) => boolean): Int32Array => {
    const words = new Int32Array(size);
    for (let place = 0; place <= points.length; place++) {
      if (at(place)) words[Math.floor(place / WORD_BITS)]! |= 1 << (place % WORD_BITS);
    }
    return words;
  };
  const stays = bits((place) => loops[place]!);
  const others = bits((place) => points[place - 1] === -1);
  const fits = new Map<number, Int32Array>();
  for (const point of new Set(points)) {
    if (point !== -1)
      fits.set(
        point,
        bits((place) => points[place - 1] === point || points[place - 1] === -1),
      );
  }
  const lastWord = size - 1;
  const lastBit = 1 << (points.length % WORD_BITS);
  return (text) => {
    const state = new Int32Array(size);
    state[0] = 1;
    for (let at = 0; at < text.length; at++) {
      const point = text.codePointAt(at)!;
      if (point > 0xffff) at++;
      const fit = fits.get(point) ?? others;
      let carry = 0;
      let alive = 0;
      for (let word = 0; word < size; word++) {
        const before = state[word]!;
        const after = (((before << 1) | carry) & fit[word]!) | (before & stays[word]!);
        carry = before >>> 31;
        state[word] = after;
        alive |= after;
      }
      if (alive === 0) return false;
    }
    return (state[lastWord]! & lastBit) !== 0;
  };
}
