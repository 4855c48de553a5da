/** Throughput of syncs, from what is seen of them between two requests. */

import type { SyncProgress } from '../../core/messages.js';
import type { DeploymentId } from '../../core/types.js';

/** Syncs that are remembered at a time; the one seen longest ago is forgotten first. */
const MAX_SAMPLES = 4096;
/** Samples closer together than this say little about the rate, ms. */
const MIN_INTERVAL_MS = 250;

interface Sample {
  readonly atMs: number;
  readonly blocksDone: number;
  readonly blocksPerSecond: number;
}

/** As the API shows it; all in bytes, bytes per second and seconds. */
export interface SyncProgressView {
  readonly bytesRemaining: number;
  readonly throughputBytes: number;
  readonly estimatedSecondsRemaining: number;
}

export class SyncRates {
  readonly #samples = new Map<DeploymentId, Sample>();

  /** `nowMs` is monotonic. */
  view(progress: SyncProgress, blockSize: number, nowMs: number): SyncProgressView {
    const before = this.#samples.get(progress.target);
    let blocksPerSecond = before?.blocksPerSecond ?? 0;
    if (before === undefined || progress.blocksDone < before.blocksDone) {
      this.#remember(progress.target, { atMs: nowMs, blocksDone: progress.blocksDone, blocksPerSecond: 0 });
      blocksPerSecond = 0;
    } else if (nowMs - before.atMs >= MIN_INTERVAL_MS) {
      blocksPerSecond = ((progress.blocksDone - before.blocksDone) * 1000) / (nowMs - before.atMs);
      this.#remember(progress.target, { atMs: nowMs, blocksDone: progress.blocksDone, blocksPerSecond });
    }
    const blocksRemaining = Math.max(0, progress.blocksTotal - progress.blocksDone);
    return {
      bytesRemaining: blocksRemaining * blockSize,
      throughputBytes: Math.round(blocksPerSecond * blockSize),
      estimatedSecondsRemaining: blocksPerSecond > 0 ? Math.ceil(blocksRemaining / blocksPerSecond) : 0,
    };
  }

  #remember(target: DeploymentId, sample: Sample): void {
    this.#samples.delete(target);
    this.#samples.set(target, sample);
    for (const oldest of this.#samples.keys()) {
      if (this.#samples.size <= MAX_SAMPLES) break;
      this.#samples.delete(oldest);
    }
  }
}
