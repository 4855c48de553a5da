import { describe, expect, it } from 'vitest';
import { percentDone, SyncMeter, secondsLeft } from '../../../../core/replication/sync-meter.js';

describe('the rate of a sync', () => {
  it('is that of the last seconds, not of all the time', () => {
    const meter = new SyncMeter();
    expect(meter.measure(0, 0, 0)).toEqual({ blocksPerSecond: 0, bytesPerSecond: 0 });
    let [blocks, bytes] = [0, 0];
    const go = (seconds: number, blocksPerSecond: number) => {
      const start = now;
      for (; now < start + seconds * 1_000; now += 100) {
        blocks += blocksPerSecond / 10;
        bytes += blocksPerSecond * 100;
        meter.measure(now + 100, blocks, bytes);
      }
      return meter.measure(now, blocks, bytes);
    };
    let now = 0;
    expect(go(10, 100)).toEqual({ blocksPerSecond: 100, bytesPerSecond: 100_000 });
    const { blocksPerSecond } = go(2, 500);
    expect(blocksPerSecond).toBeGreaterThan(200);
    expect(blocksPerSecond).toBeLessThan(300);
    expect(go(8, 500).blocksPerSecond).toBe(500);
    expect(go(8, 0).blocksPerSecond).toBe(0);
  });

  it('says how long it takes, if it goes on', () => {
    const progress = { blocksTotal: 100, blocksDone: 40, blocksPerSecond: 7 };
    expect(secondsLeft(progress)).toBe(9);
    expect(secondsLeft({ ...progress, blocksPerSecond: 0 })).toBeUndefined();
    expect(secondsLeft({ ...progress, blocksDone: 100, blocksPerSecond: 0 })).toBe(0);
    // More was done than was counted at the beginning.
    expect(secondsLeft({ ...progress, blocksDone: 120 })).toBe(0);
  });

  it('knows neither share nor time until the blocks are counted', () => {
    const progress = { blocksTotal: 0, blocksDone: 0, blocksPerSecond: 0 };
    expect(percentDone(progress)).toBeUndefined();
    expect(secondsLeft(progress)).toBeUndefined();
    expect(percentDone({ blocksTotal: 3, blocksDone: 0 })).toBe(0);
    expect(percentDone({ blocksTotal: 3, blocksDone: 2 })).toBe(66);
    expect(percentDone({ blocksTotal: 3, blocksDone: 4 })).toBe(100);
  });
});
