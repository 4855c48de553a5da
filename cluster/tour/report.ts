/** What the tour tells and what it holds against its promises. */

interface Check {
  readonly claim: string;
  readonly holds: boolean;
  readonly detail: string;
}

export class Report {
  readonly #checks: Check[] = [];
  readonly #started = performance.now();
  #chapter = 0;

  chapter(title: string): void {
    this.#chapter++;
    process.stdout.write(`\n${this.#chapter}. ${title}\n`);
  }

  say(text: string): void {
    const seconds = ((performance.now() - this.#started) / 1000).toFixed(1).padStart(6);
    process.stdout.write(`   [${seconds} s] ${text}\n`);
  }

  /** Notes whether a promise held; the tour goes on either way. */
  check(claim: string, holds: boolean, detail = ''): void {
    this.#checks.push({ claim, holds, detail });
    this.say(`${holds ? '✓' : '✗ BROKEN:'} ${claim}${detail === '' ? '' : ` – ${detail}`}`);
  }

  /** Whether there was at least one check and all held. */
  get passed(): boolean {
    return this.#checks.length > 0 && this.#checks.every(({ holds }) => holds);
  }

  summary(): string {
    const broken = this.#checks.filter(({ holds }) => !holds);
    const lines = broken.map(({ claim, detail }) => `  ✗ ${claim}${detail === '' ? '' : ` – ${detail}`}`);
    return [`${this.#checks.length - broken.length} of ${this.#checks.length} promises held.`, ...lines].join('\n');
  }
}

export function megabytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
