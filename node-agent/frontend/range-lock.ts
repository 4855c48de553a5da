interface Holder {
  readonly first: number;
  readonly end: number;
  /** Earlier holders that it overlaps. */
  ahead: number;
  granted: () => void;
}

/** Exclusive locks on ranges of blocks, granted in the order in which they were asked for. */
export class RangeLock {
  readonly #holders = new Set<Holder>();

  /** Whether somebody holds, or waits for, a block of `first` … `end - 1`. */
  overlaps(first: number, end: number): boolean {
    for (const holder of this.#holders) {
      if (holder.first < end && first < holder.end) return true;
    }
    return false;
  }

  /** Resolves with the function that gives the range back; it is to be called once. */
  async acquire(first: number, end: number): Promise<() => void> {
    const holder: Holder = { first, end, ahead: 0, granted: () => undefined };
    for (const other of this.#holders) if (other.first < end && first < other.end) holder.ahead++;
    this.#holders.add(holder);
    if (holder.ahead > 0) {
      await new Promise<void>((resolve) => {
        holder.granted = resolve;
      });
    }
    return () => this.#release(holder);
  }

  #release(holder: Holder): void {
    let after = false;
    for (const other of this.#holders) {
      if (other === holder) {
        after = true;
      } else if (after && other.first < holder.end && holder.first < other.end && --other.ahead === 0) {
        other.granted();
      }
    }
    this.#holders.delete(holder);
  }
}
