import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { commonEnd, compareOrders, isDead } from '../../../core/order.js';
import { type Epoch, type HistoryEntry, ORDER_ZERO, type Order, type Sequence } from '../../../core/types.js';

const order = (epoch: number, sequence: number): Order => ({ epoch: epoch as Epoch, sequence: sequence as Sequence });
const history = (...entries: [number, number][]): HistoryEntry[] =>
  entries.map(([epoch, startsAfter]) => ({ epoch: epoch as Epoch, startsAfter: startsAfter as Sequence }));

describe('orders', () => {
  it('compares epochs before sequences', () => {
    expect(compareOrders(order(2, 1), order(1, 9))).toBeGreaterThan(0);
    expect(compareOrders(order(1, 3), order(1, 9))).toBeLessThan(0);
    expect(compareOrders(order(1, 3), order(1, 3))).toBe(0);
  });

  it.each([
    ['a write behind the start of a later epoch', order(1, 11), true],
    ['the last write that a later epoch has', order(1, 10), false],
    ['a write of that epoch itself', order(3, 11), false],
    ['a write of an unnamed epoch of the same primary', order(4, 50), false],
    ['a write lost at a start that came much later', order(4, 61), true],
    ['a write before every start', order(2, 5), false],
    ['a write of the newest epoch', order(6, 1000), false],
    ['a block that was never written', ORDER_ZERO, false],
  ])('%s: dead is %s', (_, one, dead) => {
    expect(isDead(one, history([1, 0], [3, 10], [6, 60]))).toBe(dead);
  });

  it('an order is dead exactly when it is behind the common end of a log that ends with it', () => {
    const entries = fc
      .array(fc.tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 0, max: 20 })), { maxLength: 6 })
      .map((steps) => {
        let epoch = 0;
        return steps.map(([step, startsAfter]): [number, number] => {
          epoch += step;
          return [epoch, startsAfter];
        });
      });
    fc.assert(
      fc.property(
        entries,
        fc.integer({ min: 1, max: 24 }),
        fc.integer({ min: 1, max: 24 }),
        (steps, epoch, sequence) => {
          const one = order(epoch, sequence);
          const known = history(...steps);
          const dead = steps.some(([later, startsAfter]) => later > epoch && startsAfter < sequence);
          expect(isDead(one, known)).toBe(dead);
          expect(commonEnd(one, known) < sequence).toBe(dead);
        },
      ),
    );
  });
});
