/** The rule of dead orders (core/order.ts), by epoch: what the store asks for many orders at a time. */

import { commonEnd } from '../../core/order.js';
import type { Epoch, HistoryEntry, Sequence } from '../../core/types.js';

/** The last sequence that is live in this epoch; orders of the epoch behind it are dead. */
export function lastLive(epoch: Epoch, history: readonly HistoryEntry[]): Sequence {
  return commonEnd({ epoch, sequence: Number.MAX_SAFE_INTEGER as Sequence }, history);
}

/** `isDead` for many orders: what was found for an epoch is kept for the next order of the same one. */
export function deadFilter(history: readonly HistoryEntry[]): (epoch: number, sequence: number) => boolean {
  let knownEpoch = -1;
  let knownEnd = 0;
  return (epoch, sequence) => {
    if (epoch !== knownEpoch) {
      knownEpoch = epoch;
      knownEnd = lastLive(epoch as Epoch, history);
    }
    return sequence > knownEnd;
  };
}
