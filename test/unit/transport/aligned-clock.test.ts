import { describe, expect, it } from 'vitest';
import type { Clock } from '../../../core/ports.js';
import { AlignedClock } from '../../../node-agent/replication/aligned-clock.js';

/** A clock whose time the test moves; each timer runs in a turn of its own. */
function bench(start = 0) {
  let now = start;
  const timers = new Set<{ at: number; run: () => void }>();
  const clock: Clock = {
    now: () => now,
    timestamp: () => '',
    after: (delayMs, run) => {
      const timer = { at: now + delayMs, run };
      timers.add(timer);
      return { cancel: () => timers.delete(timer) };
    },
  };
  const log: string[] = [];
  let turns = 0;
  const pass = (ms: number): void => {
    const end = now + ms;
    for (;;) {
      const next = [...timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      now = Math.max(now, next.at);
      timers.delete(next);
      turns++;
      next.run();
    }
    now = end;
  };
  /** The event loop has other things to do for so long. */
  const stall = (ms: number): void => {
    now += ms;
  };
  const lateness: number[] = [];
  const note = (name: string) => () => log.push(`${name}@${now}`);
  const aligned = new AlignedClock(clock, (ms) => lateness.push(ms));
  return { aligned, lateness, log, note, pass, stall, timers, turns: () => turns };
}

describe('an aligned clock', () => {
  it('runs what is due within 50 ms in one turn, never too early, in the order of asking', () => {
    const { aligned, log, note, pass, turns } = bench(3);
    aligned.after(120, note('a'));
    aligned.after(105, note('b'));
    pass(20);
    aligned.after(100, note('c'));
    aligned.after(140, note('d'));
    pass(500);
    expect(log).toEqual(['a@150', 'b@150', 'c@150', 'd@200']);
    expect(turns()).toBe(2);
  });

  it('leaves short timers as they are', () => {
    const { aligned, log, note, pass } = bench();
    aligned.after(1, note('a'));
    aligned.after(99, note('b'));
    pass(200);
    expect(log).toEqual(['a@1', 'b@99']);
  });

  it('runs nothing that was cancelled, also in the same turn, and keeps no timer for it', () => {
    const { aligned, log, note, pass, timers } = bench();
    const run = note('a');
    const first = aligned.after(100, run);
    aligned.after(100, () => second.cancel());
    const second = aligned.after(100, note('b'));
    aligned.after(100, run);
    first.cancel();
    first.cancel();
    pass(100);
    expect(log).toEqual(['a@100']);
    aligned.after(100, note('c')).cancel();
    expect(timers.size).toBe(0);
  });

  it('tells how late its turns are, once each', () => {
    const { aligned, lateness, note, pass, stall } = bench();
    aligned.after(100, note('a'));
    aligned.after(100, note('b'));
    aligned.after(30, note('short'));
    pass(100);
    aligned.after(100, note('c'));
    stall(130);
    pass(10);
    expect(lateness).toEqual([0, 30]);
  });

  it('makes a repeated look of many one turn each time', () => {
    const { aligned, pass, turns } = bench();
    for (let i = 0; i < 10; i++) {
      const tick = (): void => void aligned.after(100, tick);
      pass(7);
      tick();
    }
    const before = turns();
    pass(1_000);
    expect(turns() - before).toBeLessThanOrEqual(20);
  });
});
