/**
 * The numbers of a deployment's checkpoints. A page is known by its slot and its checkpoint's number, so a number must
 * not come again, not even one of a checkpoint that a crash left half written: each opening has its own.
 */

/** What an opening has to itself. One that needs more, in which none of them failed, may go on. */
const NUMBERS_PER_OPENING = 2 ** 20;

export class CheckpointNumbers {
  #next: number;
  #record: (() => Promise<void>) | undefined;

  /**
   * `last`: of the checkpoint that the superblock names, or 0. `record` makes durable that there was this opening; it
   * is called before the first number is given, unless `recorded` was.
   */
  constructor(opening: number, last: number, record: () => Promise<void>) {
    this.#next = Math.max(opening, Math.floor(last / NUMBERS_PER_OPENING) + 1) * NUMBERS_PER_OPENING;
    this.#record = record;
  }

  /** The opening is durable. */
  recorded(): void {
    this.#record = undefined;
  }

  async take(): Promise<number> {
    await this.#record?.();
    this.recorded();
    return this.#next++;
  }
}
