import { describe, expect, it } from 'vitest';
import { BoundedAdmission } from '../../../../core/replication/sync-admission.js';
import type { DeploymentId } from '../../../../core/types.js';

const [a, b, c, d] = ['a', 'b', 'c', 'd'] as DeploymentId[] as [DeploymentId, DeploymentId, DeploymentId, DeploymentId];

function bench(limit: number) {
  const clock = { ms: 0, now: () => clock.ms };
  return { clock, admission: new BoundedAdmission(clock, limit) };
}

describe('syncs to one node', () => {
  it('are admitted up to the limit, each as often as it asks', () => {
    const { admission } = bench(2);
    expect([a, b, c, a].map((target) => admission.admit(target))).toEqual([true, true, false, true]);
    admission.release(a);
    expect(admission.admit(c)).toBe(true);
    expect(admission.admit(a)).toBe(false);
  });

  it('are admitted in the order in which they have begun to ask', () => {
    const { clock, admission } = bench(1);
    admission.admit(a);
    expect([b, c].map((target) => admission.admit(target))).toEqual([false, false]);
    clock.ms = 3_000;
    expect([b, c].map((target) => admission.admit(target))).toEqual([false, false]);
    admission.release(a);
    expect([c, d, b, c].map((target) => admission.admit(target))).toEqual([false, false, true, false]);
    admission.release(b);
    expect([d, c].map((target) => admission.admit(target))).toEqual([false, true]);
  });

  it('lose their place when they are not heard of, and not before', () => {
    const { clock, admission } = bench(1);
    admission.admit(a);
    clock.ms = 14_000;
    admission.renew(a);
    clock.ms = 28_000;
    expect(admission.admit(b)).toBe(false);
    clock.ms = 30_000;
    expect(admission.admit(b)).toBe(true);
    // It is not of those that were admitted any more.
    admission.renew(a);
    expect(admission.admit(a)).toBe(false);
  });

  it('keep their place while their source waits for its own turn', () => {
    const { clock, admission } = bench(1);
    admission.admit(a);
    admission.admit(b);
    clock.ms = 10_000;
    admission.renew(a);
    admission.admit(c);
    clock.ms = 12_000;
    expect(admission.admit(b)).toBe(false);
    admission.release(a);
    expect([c, b].map((target) => admission.admit(target))).toEqual([false, true]);
  });

  it('do not wait for one that has given up asking', () => {
    const { clock, admission } = bench(1);
    admission.admit(a);
    admission.admit(b);
    clock.ms = 4_000;
    admission.admit(c);
    clock.ms = 8_000;
    admission.release(a);
    expect(admission.admit(c)).toBe(true);
  });
});
