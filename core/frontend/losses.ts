/**
 * Remembers whether there are writes that were acknowledged and not flushed, and whether such writes were
 * lost: a primary that may have lost some gives another loss verifier than the one before it. The next flush
 * then fails, once, as a disk's would (design/replication.md, "Power loss").
 */
export class LossTracker {
  readonly #everyWriteIsDurable: boolean;
  /** Acknowledged writes that only a flush makes durable, counted. */
  #acknowledged = 0;
  /** How many of them a flush has covered, or a loss has been accounted for. */
  #settled = 0;
  #verifier: number | undefined;
  #unreported = false;

  constructor(everyWriteIsDurable: boolean) {
    this.#everyWriteIsDurable = everyWriteIsDurable;
  }

  acknowledged(fua: boolean): void {
    if (!fua && !this.#everyWriteIsDurable) this.#acknowledged++;
  }

  /** What a flush that is asked for now will cover; for `flushed`. */
  mark(): number {
    return this.#acknowledged;
  }

  flushed(mark: number): void {
    if (mark > this.#settled) this.#settled = mark;
  }

  /** A session is open. True: writes that somebody relies on were lost, and a flush has to say so. */
  opened(verifier: number): boolean {
    const changed = this.#verifier !== undefined && this.#verifier !== verifier;
    this.#verifier = verifier;
    const lost = changed && this.#acknowledged > this.#settled;
    if (lost) {
      this.#settled = this.#acknowledged;
      this.#unreported = true;
    }
    return lost;
  }

  /** Whether a flush has to fail for a loss; true once for each loss. */
  takeReport(): boolean {
    const report = this.#unreported;
    this.#unreported = false;
    return report;
  }
}
