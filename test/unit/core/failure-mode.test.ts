import { describe, expect, it } from 'vitest';
import type { FailureMode } from '../../../core/domain.js';
import { enoughCopies, mayChoose, minimumStorageNodes, requiredReplicas } from '../../../core/failure-mode.js';

const hard: FailureMode = { kind: 'hard' };
const soft: FailureMode = { kind: 'soft' };
const alwayson: FailureMode = { kind: 'alwayson' };
const threshold = (n: number): FailureMode => ({ kind: 'threshold', threshold: n });

describe('failure modes', () => {
  it.each([
    ['hard', hard, [0, 1, 2, 3, 4, 5]],
    ['soft', soft, [0, 1, 1, 2, 3, 4]],
    ['threshold 0', threshold(0), [0, 0, 0, 0, 0, 0]],
    ['threshold 2', threshold(2), [0, 1, 2, 2, 2, 2]],
    ['threshold 5', threshold(5), [0, 1, 2, 3, 4, 5]],
    ['alwayson', alwayson, [0, 0, 0, 0, 0, 0]],
  ] as const)('%s needs so many ready replicas of 0–5 wanted ones', (_, mode, required) => {
    expect(required.map((_, target) => requiredReplicas(mode, target))).toEqual(required);
  });

  it.each([
    // mode, wanted, ready, lost, enough
    [hard, 2, 2, 0, true],
    [hard, 2, 1, 1, false],
    [hard, 1, 0, 1, false],
    [hard, 0, 0, 0, true],
    [soft, 2, 1, 1, true],
    [soft, 2, 0, 2, false],
    [soft, 1, 0, 1, false],
    [soft, 5, 4, 1, true],
    [soft, 5, 3, 2, false],
    [threshold(1), 3, 1, 2, true],
    [threshold(1), 3, 0, 3, false],
    [alwayson, 5, 0, 5, true],
    // More replicas were asked for; none was lost.
    [hard, 2, 1, 0, true],
    [hard, 5, 0, 0, true],
    // One more was asked for while one is lost: the lost one counts.
    [hard, 3, 1, 1, false],
    // Fewer were asked for after one was lost.
    [hard, 1, 1, 1, true],
  ] as const)('%o with %i wanted, %i ready, %i lost: %s', (mode, target, ready, lost, enough) => {
    expect(enoughCopies(mode, { target, ready, lost })).toBe(enough);
  });

  it('is refused if the present state does not satisfy it', () => {
    expect(mayChoose(hard, { target: 2, ready: 1, lost: 0 })).toBe(false);
    expect(mayChoose(soft, { target: 2, ready: 1, lost: 0 })).toBe(true);
    expect(mayChoose(threshold(3), { target: 2, ready: 2, lost: 0 })).toBe(false);
    expect(mayChoose(threshold(2), { target: 2, ready: 2, lost: 0 })).toBe(true);
    expect(mayChoose(alwayson, { target: 2, ready: 0, lost: 2 })).toBe(true);
  });

  it.each([
    [hard, 2, 4],
    [hard, 0, 1],
    [soft, 2, 3],
    [threshold(1), 3, 2],
    [alwayson, 3, 1],
  ] as const)('%o with %i replicas wants %i storage nodes', (mode, target, nodes) => {
    expect(minimumStorageNodes(mode, target)).toBe(nodes);
  });
});
