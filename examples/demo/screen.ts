// What the demo shows: a progress bar that stays at the bottom of a terminal, and lines that scroll above it.
// Without a terminal it prints lines alone, a few of them for the progress.

const BAR_WIDTH = 40;
const PLAIN_STEP = 0.1;

/** Colours, or nothing where colours are not wanted. */
const hasColours = process.stdout.isTTY && !process.env.NO_COLOR;
const paint = (code: number) => (text: string) => (hasColours ? `\u001b[${code}m${text}\u001b[0m` : text);
export const bold = paint(1);
export const dim = paint(2);
export const red = paint(31);
export const green = paint(32);
export const yellow = paint(33);
export const cyan = paint(36);

/** A number with separators. */
export const figure = (value: number) => Math.round(value).toLocaleString("en-US");

/** The terminal's lower lines. */
export class Screen {
  #shownLines = 0;
  #plainFraction = 0;

  /** Prints a line that stays. */
  line(text = ""): void {
    this.#clear();
    process.stdout.write(`${text}\n`);
  }

  /** Shows the progress (0 to 1) with a headline beside the bar and details below it. */
  progress(fraction: number, headline: string, details: string[]): void {
    const percent = `${(fraction * 100).toFixed(1).padStart(5)} %`;
    if (!process.stdout.isTTY) {
      if (fraction < this.#plainFraction) return;
      this.#plainFraction = fraction + PLAIN_STEP;
      process.stdout.write(`${percent}  ${headline}  (${details.join(", ")})\n`);
      return;
    }
    this.#clear();
    const full = Math.floor(fraction * BAR_WIDTH);
    const bar = cyan("█".repeat(full)) + dim("░".repeat(BAR_WIDTH - full));
    process.stdout.write(`\n  ${bar} ${bold(percent)}  ${headline}\n  ${dim(details.join(" · "))}\n`);
    this.#shownLines = 3;
  }

  /** Removes the progress. */
  done(): void {
    this.#clear();
  }

  #clear(): void {
    if (this.#shownLines > 0) process.stdout.write(`\u001b[${this.#shownLines}A\u001b[0J`);
    this.#shownLines = 0;
  }
}
