/** Orders of writes, and which of them survived (design/replication.md, "State"). */

import type { Epoch, HistoryEntry, Order, Sequence } from './types.js';

/**
 * Epoch of a lost block of which not even the order is known any more (docs/internals/store.md). No write has it, and
 * every history begins behind it, so that such an order is dead.
 */
export const UNKNOWN_EPOCH = 0 as Epoch;

/** Negative, zero or positive, as `a` is older than, the same as, or newer than `b`. For live orders only. */
export function compareOrders(a: Order, b: Order): number {
  return a.epoch !== b.epoch ? a.epoch - b.epoch : a.sequence - b.sequence;
}

export function sameOrder(a: Order, b: Order): boolean {
  return a.epoch === b.epoch && a.sequence === b.sequence;
}

/**
 * Whether the write with this order was lost with the tail of its primary: a later activation began before
 * it [R4]. ORDER_ZERO is never dead.
 */
export function isDead(order: Order, history: readonly HistoryEntry[]): boolean {
  // Epochs rise along the history, so the entries that matter are at its end.
  for (let i = history.length - 1; i >= 0; i--) {
    const entry = history[i]!;
    if (entry.epoch <= order.epoch) return false;
    if (entry.startsAfter < order.sequence) return true;
  }
  return false;
}

/**
 * How far a log that ends with `last` agrees with the stream that `history` describes: the smallest of its
 * own end and of the starts of all later activations.
 */
export function commonEnd(last: Order, history: readonly HistoryEntry[]): Sequence {
  let end = last.sequence;
  for (let i = history.length - 1; i >= 0; i--) {
    const entry = history[i]!;
    if (entry.epoch <= last.epoch) break;
    if (entry.startsAfter < end) end = entry.startsAfter;
  }
  return end;
}
