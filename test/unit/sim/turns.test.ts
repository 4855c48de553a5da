import { describe, expect, it } from 'vitest';
import { Turns } from '../../sim/turns.js';

function takenOf<T>(turns: Turns<T>, most = Number.POSITIVE_INFINITY): T[] {
  const taken: T[] = [];
  while (taken.length < most) {
    const task = turns.take();
    if (task === undefined) break;
    taken.push(task);
  }
  return taken;
}

describe('tasks in several runs', () => {
  const TASKS = ['a', 'b', 'c', 'd'];

  it('are all taken once, each run from where the one before it has stopped', () => {
    const first = new Turns(TASKS, 0);
    expect(takenOf(first, 3)).toEqual(['a', 'b', 'c']);
    expect(first.rest).toBe(3);
    const second = new Turns(TASKS, first.rest!);
    expect(takenOf(second)).toEqual(['d']);
    expect(second.rest).toBeUndefined();
  });

  it('leave no rest when the last one was taken just before the end', () => {
    const turns = new Turns(TASKS, 2);
    expect(takenOf(turns, 2)).toEqual(['c', 'd']);
    expect(turns.rest).toBeUndefined();
  });

  it('end when they are stopped, or the time is over', () => {
    const turns = new Turns(TASKS, 1);
    turns.stop();
    expect([turns.take(), turns.rest]).toEqual([undefined, 1]);
    const late = new Turns(TASKS, 1, 0);
    expect([late.take(), late.rest]).toEqual([undefined, 1]);
  });

  it('are none behind their end', () => {
    expect(takenOf(new Turns(TASKS, 9))).toEqual([]);
    expect(new Turns(TASKS, 9).rest).toBeUndefined();
  });
});
