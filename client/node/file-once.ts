// A once store in a plain file that only grows until it is written anew, for Node: never part of a browser's bundle.
//
//   {"dunlin":"once","version":1}
//   [1795384856200,"[\"queue:jobs\",\"order-7\"]"]      when it was added, and the key: one line each, synced before add resolves
//   [17953848562                                        a line without its end was never promised, and is cut off
import { type FileHandle, open, readFile, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { type OnceLimits, onceLimits } from "../once/limits.ts";
import type { OnceStore } from "../once/once.ts";

const HEADER = '{"dunlin":"once","version":1}\n';
/** The file is written anew when it has so many times the lines that count. */
const SLACK = 2;
const MIN_LINES = 1_000;

/**
 * Remembers finished messages in a file, for one process at a time. Keys are held in memory as well: about 100 bytes each. It has no
 * `run`: an effect that must be one with its key needs a database, as `sqliteOnce` is.
 *
 * @throws Error when the file cannot be opened, or is not such a file
 * @example
 * const once = await fileOnce("finished.jsonl");
 * for await (const message of dunlin.queue("mails").consume({ once })) await message.ack();
 */
export async function fileOnce(path: string, limits: OnceLimits = {}): Promise<FileOnce> {
  const store = new FileOnce(path, limits);
  await store.load();
  return store;
}

/** Made by {@link fileOnce}. */
export class FileOnce implements OnceStore {
  readonly #path: string;
  readonly #limits: Required<OnceLimits>;
  /** When each key was added, the oldest first. */
  readonly #times = new Map<string, number>();
  #file!: FileHandle;
  #lines = 0;
  #text = "";
  /** The write that will contain `#text`; adds that come meanwhile share it. */
  #next: Promise<void> | undefined;
  #writing: Promise<void> = Promise.resolve();

  /** @internal */
  constructor(path: string, limits: OnceLimits) {
    this.#path = path;
    this.#limits = onceLimits(limits);
  }

  /** @internal */
  async load(): Promise<void> {
    const text = await readFile(this.#path, "utf8").catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return "";
      throw error;
    });
    if (text !== "" && !text.startsWith(HEADER) && !HEADER.startsWith(text)) {
      throw new Error(`${this.#path} is not a file of finished messages that this version reads`);
    }
    for (const line of text.slice(HEADER.length, text.lastIndexOf("\n") + 1).split("\n")) {
      if (line === "") continue;
      const [time, key] = JSON.parse(line) as [number, string];
      this.#times.set(key, time);
    }
    this.#forget(Date.now());
    await this.#writeAnew();
  }

  async has(key: string): Promise<boolean> {
    return this.#times.has(key);
  }

  add(key: string): Promise<void> {
    if (this.#times.has(key)) return this.#next ?? this.#writing;
    const nowMs = Date.now();
    this.#times.set(key, nowMs);
    this.#text += lineOf(key, nowMs);
    this.#lines += 1;
    this.#forget(nowMs);
    this.#next ??= this.#writing = this.#writing.then(() => this.#write());
    return this.#next;
  }

  /** Closes the file once everything is in it. */
  async close(): Promise<void> {
    await this.#writing;
    await this.#file.close();
  }

  async #write(): Promise<void> {
    const text = this.#text;
    this.#text = "";
    this.#next = undefined;
    if (this.#lines > Math.max(MIN_LINES, this.#times.size * SLACK)) await this.#writeAnew();
    else {
      await this.#file.appendFile(text);
      await this.#file.datasync();
    }
  }

  #forget(nowMs: number): void {
    for (const [key, time] of this.#times) {
      if (this.#times.size <= this.#limits.maxKeys && time >= nowMs - this.#limits.maxAgeMs) return;
      this.#times.delete(key);
    }
  }

  /** Writes another file and puts it in the old one's place, so that a crash leaves one of both whole. */
  async #writeAnew(): Promise<void> {
    const path = `${this.#path}.new`;
    // What is added meanwhile is in here as well, and comes again behind: harmless.
    const lines = [...this.#times].map(([key, time]) => lineOf(key, time));
    const file = await open(path, "w");
    await file.appendFile(HEADER + lines.join(""));
    await file.datasync();
    await rename(path, this.#path);
    await syncFolder(dirname(this.#path));
    await this.#file?.close();
    this.#file = file;
    this.#lines = lines.length;
  }
}

function lineOf(key: string, timeMs: number): string {
  return `${JSON.stringify([timeMs, key])}\n`;
}

/** The new name is durable once its folder is. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  await folder.sync().finally(() => folder.close());
}
