/** Bytes of log that are remembered. */
const MAX_BYTES = 4 << 20;
/** A longer line is cut. */
const MAX_LINE_CHARS = 16 << 10;

/** The last lines of the log, for the diagnostics bundle. */
export class RecentLines {
  readonly #maxBytes: number;
  #lines: string[] = [];
  /** Lines before it are forgotten; they are let go of now and then. */
  #first = 0;
  #bytes = 0;

  constructor(maxBytes = MAX_BYTES) {
    this.#maxBytes = maxBytes;
  }

  /** `line` may end with a line feed. */
  add(line: string): void {
    const kept = line.length <= MAX_LINE_CHARS ? line.trimEnd() : `${line.slice(0, MAX_LINE_CHARS)}…`;
    this.#lines.push(kept);
    this.#bytes += kept.length + 1;
    while (this.#bytes > this.#maxBytes && this.#first < this.#lines.length - 1) {
      this.#bytes -= (this.#lines[this.#first]?.length ?? 0) + 1;
      this.#lines[this.#first++] = '';
    }
    if (this.#first > this.#lines.length / 2) {
      this.#lines = this.#lines.slice(this.#first);
      this.#first = 0;
    }
  }

  /** One line each, the oldest first. */
  text(): string {
    return this.#lines
      .slice(this.#first)
      .map((line) => `${line}\n`)
      .join('');
  }
}
