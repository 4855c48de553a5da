import type { Clock, Timer } from '../core/ports.js';

/**
 * How often files are looked at, ms. Looking is what works everywhere: Kubernetes replaces mounted secrets by moving
 * symbolic links, which watching a file does not see.
 */
const LOOK_INTERVAL_MS = 10_000;

export interface FollowedFilesOptions<T> {
  /** Reads and checks them all. Its errors have messages that say what is wrong with which file. */
  readonly read: () => Promise<T>;
  readonly same: (a: T, b: T) => boolean;
  readonly clock: Clock;
  /** Told when files that have changed cannot be used, once for each reason; what was read before stays in use. */
  readonly onTrouble: (error: Error) => void;
}

/** What stands in files that belong together and may be replaced while the agent runs: certificates and their keys. */
export class FollowedFiles<T> {
  readonly #options: FollowedFilesOptions<T>;
  #current: T;
  #changed: (content: T) => void = () => {};
  #timer: Timer | undefined;
  #toldTrouble: string | undefined;
  #closed = false;

  /** `current`: what `read` has just returned. */
  constructor(options: FollowedFilesOptions<T>, current: T) {
    this.#options = options;
    this.#current = current;
  }

  get current(): T {
    return this.#current;
  }

  /** Calls `changed` with everything new from now on. */
  follow(changed: (content: T) => void): void {
    this.#changed = changed;
    this.#schedule();
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  #schedule(): void {
    if (this.#closed) return;
    this.#timer = this.#options.clock.after(LOOK_INTERVAL_MS, () => {
      void this.#look().finally(() => this.#schedule());
    });
  }

  async #look(): Promise<void> {
    const { read, same, onTrouble } = this.#options;
    try {
      const found = await read();
      this.#toldTrouble = undefined;
      if (same(found, this.#current)) return;
      this.#current = found;
      if (!this.#closed) this.#changed(found);
    } catch (error) {
      // One of them may have been replaced before the others: the next look sees all.
      const trouble = error as Error;
      if (trouble.message !== this.#toldTrouble) onTrouble(trouble);
      this.#toldTrouble = trouble.message;
    }
  }
}
