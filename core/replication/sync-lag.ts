/**
 * Writers wait for a target that is far behind the live stream. None of their writes needs its confirmation yet; but a
 * target that is slower than they are for long would fall behind what the log still holds, begin anew, and never be in
 * sync. As a member it would set their pace anyway. How long they wait is bounded: a target that confirms nothing at
 * all has failed after `memberTimeoutMs`.
 */

import type { PeerStream } from './peer-stream.js';
import type { Primary } from './primary.js';

export class SyncLag {
  readonly #primary: Primary;
  readonly #stream: PeerStream;
  #holding = false;

  constructor(primary: Primary, stream: PeerStream) {
    this.#primary = primary;
    this.#stream = stream;
  }

  /** Whether ordering waits for this target. */
  get holding(): boolean {
    return this.#holding;
  }

  /** Blocks that it has not confirmed, in bytes as their user sees them. */
  get #bytes(): number {
    const { store } = this.#primary.context;
    return (store.last.sequence - this.#stream.acked) * store.state.blockSize;
  }

  /** Stops ordering, or lets it go on when the target has caught up by half. */
  look(): void {
    const { writes, context } = this.#primary;
    const { maxTargetLagBytes } = context.settings;
    const bound = this.#holding ? maxTargetLagBytes / 2 : maxTargetLagBytes;
    // One that has yet to be greeted, or has joined, holds nobody up.
    if (!this.#stream.target || !this.#stream.current || this.#bytes <= bound) {
      this.end();
      return;
    }
    this.#holding = true;
    writes.drain(this);
  }

  end(): void {
    if (!this.#holding) return;
    this.#holding = false;
    this.#primary.writes.resume(this);
    this.#primary.progress();
  }
}
