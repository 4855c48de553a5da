import { describe, expect, it } from 'vitest';
import { NodeLoad } from '../../../../core/replication/node-load.js';
import { SyncPace } from '../../../../core/replication/sync-pace.js';

const MIB = 1 << 20;
/** How often the event loop is looked at, ms. */
const SAMPLE_MS = 50;

/** What users' writes take, and how late the event loop is, while so many bytes per second are copied; ms. */
interface Users {
  readonly writeMs: (rate: number) => number;
  readonly lateMs?: (rate: number) => number;
}

const quick: Users = { writeMs: () => 1 };
const slow: Users = { writeMs: () => 10 };

function bench(settings: { limit?: number; floor?: number } = {}) {
  let now = 0;
  const { limit = 0, floor = MIB } = settings;
  const load = new NodeLoad(() => now);
  const pace = new SyncPace(() => now, { syncBytesPerSecond: limit, syncFloorBytesPerSecond: floor }, load);
  /** One write each millisecond, if there are users. */
  const pass = (users: Users | undefined, rate: number): void => {
    if (now % SAMPLE_MS === 0) load.late(users?.lateMs?.(rate) ?? 1);
    if (users !== undefined) {
      load.requests++;
      pace.committed(users.writeMs(rate));
    }
    now++;
  };
  const idle = (ms: number, users: Users): void => {
    for (const end = now + ms; now < end; ) pass(users, 0);
  };
  /** Copies as much as it may for `ms`, in pieces as long as they should be; returns bytes per second. */
  const copy = (ms: number, users?: Users): number => {
    const start = now;
    let bytes = 0;
    for (let due: number = now; now < start + ms; ) {
      while (due <= now) {
        const piece = Math.min(MIB, Math.max(MIB / 16, pace.pieceBytes));
        due = Math.max(due, now + pace.take(piece));
        bytes += piece;
        if (bytes > 4 * MIB * ms) throw new Error('there is no end to what it may copy');
      }
      pass(users, pace.rate);
    }
    return (bytes / ms) * 1_000;
  };
  return { pace, idle, copy, load };
}

describe('the pace of a sync', () => {
  it('grows while nobody uses the node', () => {
    const { copy, pace } = bench();
    copy(1_500);
    expect(pace.rate).toBe(1024 * MIB);
    expect(pace.pieceBytes).toBeGreaterThan(MIB);
  });

  it('has given way within two seconds when somebody begins to write', () => {
    const { idle, copy, pace } = bench();
    idle(5_000, quick);
    copy(20_000);
    expect(pace.rate).toBe(1024 * MIB);
    copy(2_000, slow);
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
    idle(5_000, quick);
    copy(3_000, slow);
    expect(pace.rate).toBe(MIB);
    const rate = copy(5_000, slow);
    expect(rate / MIB).toBeGreaterThan(0.9);
    expect(rate / MIB).toBeLessThan(1.5);
  });

  it('comes back when they are as quick as before', () => {
    const { idle, copy, pace } = bench();
    idle(5_000, quick);
    copy(3_000, slow);
    copy(5_000, quick);
    expect(pace.rate).toBeGreaterThan(64 * MIB);
  });

  it('does not mind writes that were slow before, nor a difference that nobody notices', () => {
    const always = bench();
    always.idle(5_000, { writeMs: () => 30 });
    always.copy(4_000, { writeMs: () => 35 });
    expect(always.pace.rate).toBeGreaterThan(64 * MIB);
    const little = bench();
    little.idle(5_000, { writeMs: () => 0.2 });
    little.copy(8_000, { writeMs: () => 1 });
    expect(little.pace.rate).toBeGreaterThan(64 * MIB);
  });

  it('does not take what it causes for the way it has always been', () => {
    const { idle, copy, pace } = bench();
    idle(5_000, quick);
    copy(60_000, slow);
    expect(pace.rate).toBe(MIB);
  });

  it('settles where writes take twice as long, instead of going up and down', () => {
    const { idle, copy, pace } = bench();
    // A disk that is asked for more than 40 MiB/s has a queue.
    const users: Users = { writeMs: (rate) => 4 + Math.max(0, (rate - 40 * MIB) / MIB) };
    idle(5_000, users);
    copy(10_000, users);
    const rates = Array.from({ length: 50 }, () => {
      copy(200, users);
      return pace.rate / MIB;
    });
    expect(Math.min(...rates)).toBeGreaterThan(38);
    expect(Math.max(...rates)).toBeLessThan(50);
  });
});

describe('the pace of a sync beside a busy event loop', () => {
  /** What is due waits for half of a piece that is being handled; the writes themselves are as quick as ever. */
  const behindPieces: Users = { writeMs: () => 1, lateMs: (rate) => 1 + rate / (20 * MIB) };

  it('settles where users wait a little for it, whatever their writes take', () => {
    const { idle, copy, pace } = bench();
    idle(10_000, behindPieces);
    copy(10_000, behindPieces);
    expect(pace.rate / MIB).toBeGreaterThan(15);
    expect(pace.rate / MIB).toBeLessThan(25);
    expect(pace.pieceBytes).toBeLessThan(MIB / 2);
  });

  it('does not mind a delay that nobody waits for', () => {
    const { copy, pace, load } = bench();
    for (let i = 0; i < 20; i++) {
      load.late(50);
      copy(200);
    }
    expect(pace.rate).toBe(1024 * MIB);
  });

  it('does not mind one that was there before', () => {
    const { idle, copy, pace } = bench();
    const late: Users = { writeMs: () => 1, lateMs: () => 20 };
    idle(20_000, late);
    copy(8_000, late);
    expect(pace.rate).toBeGreaterThan(64 * MIB);
  });

  it('keeps its floor where the delay has other reasons', () => {
    const { idle, copy } = bench();
    const busy = { late: false };
    const users: Users = { writeMs: () => 1, lateMs: () => (busy.late ? 40 : 1) };
    idle(10_000, users);
    busy.late = true;
    copy(5_000, users);
    expect(copy(10_000, users) / MIB).toBeGreaterThan(0.9);
  });

  it('leaves it as it is while too few requests come to judge by', () => {
    const { copy, pace, load } = bench();
    copy(400);
    const { rate } = pace;
    load.requests++;
    copy(200);
    expect(pace.rate).toBe(rate);
    copy(200);
    expect(pace.rate).toBe(2 * rate);
  });
});
