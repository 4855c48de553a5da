import { describe, expect, it } from 'vitest';
import { type Answer, chooseCandidate } from '../../../core/candidate.js';
import type { Membership } from '../../../core/domain.js';
import { planFailover, primaryHealth } from '../../../core/failover.js';
import { initialMembership } from '../../../core/membership.js';
import type { DeploymentStatus } from '../../../core/messages.js';
import type { DeploymentId, Epoch, Generation, Incarnation, NodeId, Sequence, VolumeId } from '../../../core/types.js';

const ids = ['a', 'b', 'c'] as DeploymentId[];
const [A, B, C] = ids as [DeploymentId, DeploymentId, DeploymentId];
const record: Membership = {
  ...initialMembership({
    volume: 'v' as VolumeId,
    primary: { deployment: A, node: 'na' as NodeId, incarnation: 'a1' as Incarnation },
    inSync: [A, B, C],
    etcdClusterId: 'e',
  }),
  epoch: 5 as Epoch,
  active: true,
};
const status = (deployment: DeploymentId, change: Partial<DeploymentStatus> = {}, last = 10): DeploymentStatus => ({
  deployment,
  incarnation: `${deployment}1` as Incarnation,
  promised: 5 as Epoch,
  last: { epoch: 2 as Epoch, sequence: last as Sequence },
  unclean: false,
  generation: 1 as Generation,
  role: 'member',
  serving: false,
  etcdClusterId: 'e',
  usedBytes: 0,
  badBlocks: 0,
  ...change,
});
const answers = (...given: (DeploymentStatus | undefined)[]): Map<DeploymentId, Answer> =>
  new Map(given.map((answer, i) => [ids[i]!, answer ?? 'unreachable']));

describe('choice of a candidate', () => {
  const unclean = { unclean: true };
  it.each([
    ['the longest log', answers(undefined, status(B, {}, 9), status(C, {}, 12)), C, false],
    ['the present primary, of equally long logs', answers(status(A), status(B), status(C)), A, false],
    [
      'a clean one, though an unclean log is longer',
      answers(status(A, unclean, 20), status(B, {}, 9), undefined),
      B,
      false,
    ],
    [
      'an unclean one, if all have answered and none is clean',
      answers(status(A, unclean), status(B, unclean, 11), status(C, unclean)),
      B,
      true,
    ],
  ])('takes %s', (_, given, deployment, lossy) => {
    expect(chooseCandidate(record, given)).toMatchObject({
      kind: 'candidate',
      deployment,
      lossy,
      incarnation: `${deployment}1`,
    });
  });

  it.each([
    ['nobody answers', answers(undefined, undefined, undefined), 'no-clean-answer', [A, B, C]],
    [
      'unclean ones answer and one is silent [R10]',
      answers(status(A, unclean), status(B, unclean), undefined),
      'no-clean-answer',
      [C],
    ],
    [
      'a member has promised an epoch that etcd does not know',
      answers(status(A), status(B, { promised: 6 as Epoch }), status(C)),
      'etcd-behind',
      [B],
    ],
    [
      'a member belongs to another etcd',
      answers(undefined, status(B, { etcdClusterId: 'f' }), status(C)),
      'etcd-behind',
      [B],
    ],
  ])('waits when %s', (_, given, reason, deployments) => {
    expect(chooseCandidate(record, given)).toEqual({ kind: 'wait', reason, deployments });
  });

  it('never asks who is not in sync', () => {
    const without = { ...record, inSync: [A, B] };
    expect(chooseCandidate(without, answers(undefined, undefined, status(C, {}, 99)))).toMatchObject({ kind: 'wait' });
  });
});

describe('failover', () => {
  it('names the candidate under the incarnation that answered', () => {
    const placements = ids.map((deployment) => ({ deployment, node: `n${deployment}` as NodeId }));
    const step = planFailover(record, placements, answers(undefined, status(B), undefined));
    expect(step).toMatchObject({ kind: 'swap', lossy: false });
    if (step.kind !== 'swap') return;
    expect(step.next).toMatchObject({ epoch: 6, active: false, inSync: [A, B, C] });
    expect(step.next.primary).toEqual({ deployment: B, node: 'nb', incarnation: 'b1' });
  });

  it.each([
    ['serving', status(A, { role: 'primary', serving: true })],
    ['working', status(A, { role: 'opening' })],
    ['restarted', status(A, { incarnation: 'a2' as Incarnation, role: 'member' })],
    ['deposed', status(A)],
    ['unreachable', 'unreachable' as const],
    ['unreachable', undefined],
  ])('sees that the primary is %s', (health, answer) => {
    expect(primaryHealth(record, answer)).toBe(health);
  });
});
