/**
 * What a user of a volume may expect of its flushes: that acknowledged writes were lost is said by one of them, an error
 * (design/replication.md, "Power loss").
 */

import type { IoStatus } from '../../core/messages.js';

export class LossReport {
  /** Writes were acknowledged since the last flush or loss. */
  #unflushed = false;
  #due = false;

  acknowledged(): void {
    this.#unflushed = true;
  }

  /** What was acknowledged and not flushed is gone. */
  lost(): void {
    if (this.#unflushed) this.#due = true;
    // The report accounts for it: another loss is one only of what is acknowledged from here on.
    this.#unflushed = false;
  }

  /** A flush is asked for. To be called with its outcome, and says whether it kept a loss to itself. */
  flush(): (status: IoStatus) => boolean {
    const wasDue = this.#due;
    return (status) => {
      const silent = status === 'ok' && wasDue && this.#due;
      if (status === 'ok') this.#unflushed = false;
      else if (status === 'io-error') this.#due = false;
      return silent;
    };
  }
}
