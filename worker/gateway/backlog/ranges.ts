// Sets of integers as ranges: [first, count, first, count, …] rising, and as text for a socket's attachment.

/** Adds an integer, at the end where it continues the last range. The list is sorted only by `sortRanges`. */
export function addToRanges(ranges: number[], value: number, count = 1): void {
  const end = ranges.length;
  if (end > 0 && ranges[end - 2]! + ranges[end - 1]! === value) ranges[end - 1]! += count;
  else ranges.push(value, count);
}

/** The same set with its ranges rising and joined. */
export function sortRanges(ranges: readonly number[]): number[] {
  const pairs: [number, number][] = [];
  for (let at = 0; at < ranges.length; at += 2) pairs.push([ranges[at]!, ranges[at + 1]!]);
  const sorted: number[] = [];
  for (const [first, count] of pairs.sort((a, b) => a[0] - b[0])) addToRanges(sorted, first, count);
  return sorted;
}

/** The integers of a list of ranges. */
export function* inRanges(ranges: readonly number[]): Generator<number> {
  for (let at = 0; at < ranges.length; at += 2) {
    const end = ranges[at]! + ranges[at + 1]!;
    for (let value = ranges[at]!; value < end; value++) yield value;
  }
}

/**
 * Ranges as short text, each first number told from the end of the range before.
 *
 * @example rangesText([5, 1, 8, 3]) === "5,2+3"
 */
export function rangesText(ranges: readonly number[]): string {
  const parts: string[] = [];
  let before = 0;
  for (let at = 0; at < ranges.length; at += 2) {
    const [first, count] = [ranges[at]!, ranges[at + 1]!];
    parts.push((first - before).toString(36) + (count === 1 ? "" : `+${count.toString(36)}`));
    before = first + count;
  }
  return parts.join(",");
}

/** The opposite of rangesText. */
export function textRanges(text: string): number[] {
  const ranges: number[] = [];
  if (text === "") return ranges;
  let before = 0;
  for (const part of text.split(",")) {
    const [distance, count = "1"] = part.split("+");
    const first = before + Number.parseInt(distance!, 36);
    ranges.push(first, Number.parseInt(count, 36));
    before = first + ranges.at(-1)!;
  }
  return ranges;
}
