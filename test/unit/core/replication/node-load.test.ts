import { describe, expect, it } from 'vitest';
import { NodeLoad } from '../../../../core/replication/node-load.js';

/** What is due each 50 ms comes so late, for so long. */
function bench() {
  let now = 0;
  const load = new NodeLoad(() => now);
  const pass = (ms: number, lateMs: number, copying = false): void => {
    for (const end = now + ms; now < end; now += 50) {
      if (copying) load.copied();
      load.late(lateMs);
    }
  };
  return { load, pass };
}

describe('what users of a node notice of its syncs', () => {
  it('is by how much the event loop is later than without them', () => {
    const { load, pass } = bench();
    pass(20_000, 3);
    expect(load.excessMs).toBeLessThan(0.1);
    pass(2_000, 8, true);
    expect(load.excessMs).toBeGreaterThan(4.5);
    expect(load.excessMs).toBeLessThan(5.5);
  });

  it('is not taken for the way it has always been, however long they copy, nor right behind their end', () => {
    const { load, pass } = bench();
    pass(20_000, 1);
    pass(600_000, 8, true);
    expect(load.excessMs).toBeGreaterThan(6.5);
    pass(900, 8);
    expect(load.excessMs).toBeGreaterThan(6.5);
    pass(60_000, 8);
    expect(load.excessMs).toBeLessThan(0.1);
  });

  it('is nothing on a loop that is as idle as can be, from the beginning', () => {
    const { load, pass } = bench();
    expect(load.excessMs).toBe(0);
    pass(5_000, 1, true);
    expect(load.excessMs).toBe(0);
    expect(load.settled).toBe(false);
  });
});
