import { describe, expect, it } from 'vitest';
import type { Membership } from '../../../core/domain.js';
import { enoughCopies } from '../../../core/failure-mode.js';
import {
  activate,
  addMember,
  initialMembership,
  MAX_OUT_OF_SYNC,
  membershipText,
  nameCandidate,
  releaseMember,
  removeMembers,
  sameMembership,
  setReadOnly,
} from '../../../core/membership.js';
import { InvariantError } from '../../../core/ports.js';
import type { DeploymentId, Incarnation, NodeId, Sequence, VolumeId } from '../../../core/types.js';

const [A, B, C] = ['a', 'b', 'c'] as DeploymentId[] as [DeploymentId, DeploymentId, DeploymentId];
const on = (deployment: DeploymentId, incarnation = `${deployment}1`) => ({
  deployment,
  node: `node-${deployment}` as NodeId,
  incarnation: incarnation as Incarnation,
});
const initial = (): Membership =>
  initialMembership({ volume: 'v' as VolumeId, primary: on(A), inSync: [A, B, C], etcdClusterId: 'e' });
const options = (confirmed: DeploymentId[], startsAfter = 7, lossy = false) => ({
  startsAfter: startsAfter as Sequence,
  confirmed: new Set(confirmed),
  lossy,
  reason: () => 'no-answer',
  timestamp: '2024-01-01T00:00:00Z',
});

describe('membership', () => {
  it('begins inactive, with all copies and no history', () => {
    expect(initial()).toMatchObject({ epoch: 1, active: false, inSync: [A, B, C], history: [], readOnly: false });
  });

  it('names a candidate without changing who is in sync', () => {
    const active = activate(initial(), options([A, B, C]));
    const next = nameCandidate(active, on(B, 'b9'));
    expect(next).toMatchObject({ epoch: 3, active: false, inSync: [A, B, C], history: active.history });
    expect(next.primary).toEqual(on(B, 'b9'));
  });

  it('refuses a candidate that is not in sync [I2]', () => {
    const without = removeMembers(activate(initial(), options([A, B, C])), [{ deployment: C, reason: 'x', since: '' }]);
    expect(() => nameCandidate(without, on(C))).toThrow(InvariantError);
  });

  it('activates with the real end, and only with those who confirmed', () => {
    const next = activate(initial(), options([A, C]));
    expect(next).toMatchObject({ epoch: 2, active: true, inSync: [A, C], history: [{ epoch: 2, startsAfter: 7 }] });
    expect(next.outOfSync.map((entry) => entry.deployment)).toEqual([B]);
    expect(next.lossVerifier).toBe(initial().lossVerifier);
  });

  it('changes the loss verifier when an unclean primary is activated [R11]', () => {
    expect(activate(initial(), options([A], 7, true)).lossVerifier).not.toBe(initial().lossVerifier);
  });

  it('is activated once only, and never without its primary', () => {
    expect(() => activate(activate(initial(), options([A])), options([A]))).toThrow(InvariantError);
    expect(() => activate(initial(), options([B, C]))).toThrow(InvariantError);
  });

  it('removes members without a history entry [R3], never the primary [I4]', () => {
    const active = activate(initial(), options([A, B, C]));
    const next = removeMembers(active, [{ deployment: B, reason: 'too-slow', since: 't' }]);
    expect(next).toMatchObject({ epoch: 3, inSync: [A, C], history: active.history });
    expect(next.outOfSync).toEqual([{ deployment: B, reason: 'too-slow', since: 't' }]);
    expect(() => removeMembers(active, [{ deployment: A, reason: 'x', since: '' }])).toThrow(InvariantError);
  });

  it('remembers lost copies, within a bound, until all are there again', () => {
    let record = activate(initial(), options([A, B, C]));
    record = removeMembers(record, [{ deployment: B, reason: 'x', since: '' }]);
    record = removeMembers(record, [{ deployment: C, reason: 'x', since: '' }]);
    expect(addMember(record, B, { complete: false, readOnly: false }).outOfSync.map((e) => e.deployment)).toEqual([C]);
    expect(addMember(record, B, { complete: true, readOnly: false }).outOfSync).toEqual([]);
    expect(() => addMember(record, A, { complete: false, readOnly: false })).toThrow(InvariantError);
    for (let i = 0; i < 40; i++) {
      const deployment = `d${i}` as DeploymentId;
      record = removeMembers(addMember(record, deployment, { complete: false, readOnly: false }), [
        { deployment, reason: 'x', since: '' },
      ]);
    }
    expect(record.outOfSync.length).toBe(MAX_OUT_OF_SYNC);
  });

  it('forgets copies that were given up: raising the number of replicas again is no loss', () => {
    const record = activate(initial(), options([A, B, C]));
    const lowered = releaseMember(record, C, true);
    expect(lowered).toMatchObject({ epoch: 3, inSync: [A, B], outOfSync: [], history: record.history });
    const redundancy = { target: 2, ready: 1, lost: lowered.outOfSync.length };
    expect(enoughCopies({ kind: 'hard' }, redundancy)).toBe(true);
    expect(() => releaseMember(record, A, true)).toThrow(InvariantError);

    const degraded = removeMembers(record, [{ deployment: B, reason: 'x', since: '' }]);
    expect(releaseMember(degraded, C, false).outOfSync).toEqual(degraded.outOfSync);
    expect(releaseMember(degraded, B, true)).toMatchObject({ inSync: [A, C], outOfSync: [] });
  });

  it('compares records by content, whatever the order of their keys', () => {
    const record = activate(initial(), options([A, C]));
    const parsed = JSON.parse(JSON.stringify(record)) as Membership;
    const shuffled = Object.fromEntries(Object.entries(parsed).reverse()) as unknown as Membership;
    expect(sameMembership(record, shuffled)).toBe(true);
    expect(membershipText(shuffled)).toBe(membershipText(record));
    expect(sameMembership(record, setReadOnly(record, true))).toBe(false);
    expect(sameMembership(record, { ...record, etcdClusterId: 'other' })).toBe(false);
  });
});
