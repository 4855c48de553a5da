import { describe, expect, it } from 'vitest';
import { SyncPace } from '../../../../core/replication/sync-pace.js';

const MIB = 1 << 20;

/** Copies a MiB at a time for `ms`, with a write each millisecond that takes `latencyMs`; returns bytes per second. */
function bench(settings: { limit?: number; floor?: number } = {}) {
  let now = 0;
  const { limit = 0, floor = 4 * MIB } = settings;
  const pace = new SyncPace(() => now, { syncBytesPerSecond: limit, syncFloorBytesPerSecond: floor });
  const idle = (ms: number, latencyMs: number): void => {
    for (const end = now + ms; now < end; now++) pace.committed(latencyMs);
  };
  const copy = (ms: number, latencyMs?: number): number => {
    const [start, end] = [now, now + ms];
    let bytes = 0;
    for (let due = now; now < end; ) {
      if (due <= now) {
        due = now + pace.take(MIB);
        bytes += MIB;
      }
      const next = Math.min(end, Math.max(due, now));
      while (now < next) {
        if (latencyMs !== undefined) pace.committed(latencyMs);
        now++;
      }
      if (due <= now && next === now) now += 0.001;
    }
    return (bytes / (now - start)) * 1_000;
  };
  return { pace, idle, copy };
}

describe('the pace of a sync', () => {
  it('grows while nobody writes', () => {
    const { copy, pace } = bench();
    copy(1_000);
    expect(pace.rate).toBeGreaterThan(800 * MIB);
  });

  it('has given way within two seconds when somebody begins to write', () => {
    const { idle, copy, pace } = bench();
    idle(5_000, 1);
    copy(20_000);
    expect(pace.rate).toBe(1024 * MIB);
    copy(2_000, 10);
    expect(pace.rate).toBeLessThan(8 * MIB);
  });

  it('keeps to its limit', () => {
    const { copy } = bench({ limit: 20 * MIB });
    copy(500);
    const rate = copy(5_000);
    expect(rate / (20 * MIB)).toBeGreaterThan(0.9);
    expect(rate / (20 * MIB)).toBeLessThan(1.1);
  });

  it('gives way when writes take much longer than they did before, down to its floor', () => {
    const { idle, copy, pace } = bench();
    idle(5_000, 1);
    copy(3_000, 10);
    expect(pace.rate).toBe(4 * MIB);
    const rate = copy(5_000, 10);
    expect(rate / (4 * MIB)).toBeGreaterThan(0.9);
    expect(rate / (4 * MIB)).toBeLessThan(1.5);
  });

  it('comes back when they are as quick as before', () => {
    const { idle, copy, pace } = bench();
    idle(5_000, 1);
    copy(3_000, 10);
    copy(3_000, 1.2);
    expect(pace.rate).toBeGreaterThan(64 * MIB);
  });

  it('does not mind writes that were slow before, nor a difference that nobody notices', () => {
    const slow = bench();
    slow.idle(5_000, 30);
    slow.copy(2_000, 35);
    expect(slow.pace.rate).toBeGreaterThan(64 * MIB);
    const quick = bench();
    quick.idle(5_000, 0.2);
    quick.copy(2_000, 1);
    expect(quick.pace.rate).toBeGreaterThan(64 * MIB);
  });

  it('does not take what it causes for the way it has always been', () => {
    const { idle, copy, pace } = bench();
    idle(5_000, 1);
    copy(60_000, 10);
    expect(pace.rate).toBe(4 * MIB);
  });
});
