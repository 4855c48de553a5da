import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { askCopies } from '../../../activities/copies.js';
import type { ActivityDeps, InventoryBlock } from '../../../activities/deps.js';
import { toFailure } from '../../../activities/failures.js';
import { heartbeatInterceptor } from '../../../activities/heartbeat.js';
import {
  createNodeBoundActivities,
  createSharedActivities,
  type NodeBoundActivities,
  type SharedActivities,
} from '../../../activities/index.js';
import { listLostVolumes, surveyLostVolume } from '../../../activities/lost-volumes.js';
import { compareCopies } from '../../../activities/verify.js';
import { MAX_REPORTED_DIFFERENCES } from '../../../core/controller.js';
import type { Placement } from '../../../core/domain.js';
import { DomainError } from '../../../core/errors.js';
import { DiskError } from '../../../core/ports.js';
import { FLAG_LZ4, FLAG_XTS, KIND_DATA, KIND_ZERO } from '../../../core/record.js';
import { ReplicationError } from '../../../core/replication/context.js';
import type { DeploymentId, Epoch, Generation, Incarnation, NodeId, Sequence, VolumeId } from '../../../core/types.js';
import { aVolume } from '../../setup/records.js';
import { FakeCluster } from '../workflows/fake-cluster.js';

const id = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`;
const deployment = (n: number) => id(n) as DeploymentId;

let cluster: FakeCluster;
let deps: ActivityDeps;
let shared: SharedActivities;
let bound: NodeBoundActivities;
let node: NodeId;

beforeEach(() => {
  cluster = new FakeCluster(3);
  node = cluster.node('node1');
  deps = cluster.deps(node, async () => {});
  shared = createSharedActivities(deps);
  bound = createNodeBoundActivities(deps);
});

/** Placed, its copies made, its membership written. */
async function aServingVolume(replicas = 1): Promise<VolumeId> {
  const volume = cluster.createVolume({ replicas });
  const deployments = Array.from({ length: replicas + 1 }, (_, i) => deployment(i + 1));
  const placements = await shared.placeVolume({ volume, deployments });
  let incarnation: Incarnation | undefined;
  for (const placed of placements) {
    const made = await createNodeBoundActivities(cluster.deps(placed.node, async () => {})).createDeployment({
      volume,
      deployment: placed.deployment,
    });
    incarnation ??= made.incarnation;
  }
  await shared.initialiseMembership({ volume, placements, incarnation: incarnation! });
  await shared.setPhase({ volume, phase: 'ready' });
  expect(await run(shared.awaitServing, { volume, epoch: 1 as Epoch, timeoutMs: 5_000 })).toBe(true);
  return volume;
}

function run<A, R>(activity: (argument: A) => Promise<R>, argument: A): Promise<R> {
  return new MockActivityEnvironment({}, { logger: new DefaultLogger('ERROR') }).run(activity, argument);
}

async function codeOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
  } catch (error) {
    if (error instanceof DomainError) return error.code;
    throw error;
  }
  return 'none';
}

describe('toFailure', () => {
  it.each<[unknown, string, boolean]>([
    [new DomainError('no-capacity', 'full'), 'no-capacity', true],
    [new DomainError('store-unavailable', 'etcd'), 'store-unavailable', false],
    [new DomainError('stale-write', 'raced'), 'stale-write', false],
    [new ReplicationError('not-primary', 'deposed'), 'invalid-state', true],
    [new ReplicationError('target-lost', 'away'), 'node-unavailable', false],
    [new ReplicationError('target-busy', 'later'), 'locked', false],
    [new DiskError('no-space', 'x', 'full'), 'no-capacity', true],
    [new DiskError('io', 'x', 'broken'), 'internal', true],
    [new Error('anything'), 'internal', true],
    ['text', 'internal', true],
  ])('%s → %s', (error, type, nonRetryable) => {
    expect(toFailure(error)).toMatchObject({ type, nonRetryable });
  });

  it('leaves what is typed already', () => {
    for (const error of [ApplicationFailure.create({ type: 'locked' }), new CancelledFailure('stop')]) {
      expect(toFailure(error)).toBe(error);
    }
  });
});

describe('signs of life', () => {
  const heartbeats = async (activityType: string): Promise<number> => {
    const environment = new MockActivityEnvironment({ activityType }, { logger: new DefaultLogger('ERROR') });
    let count = 0;
    environment.on('heartbeat', () => count++);
    const next = () => new Promise((resolve) => setTimeout(resolve, 1_300));
    await environment.run(() => heartbeatInterceptor.execute!({ args: [], headers: {} }, next));
    return count;
  };

  it('go out while an activity runs, but for those that tell their progress', async () => {
    expect(await Promise.all([heartbeats('openAttachment'), heartbeats('syncReplica')])).toEqual([
      expect.toSatisfy((count: number) => count >= 1),
      0,
    ]);
  });
});

describe('activities done twice', () => {
  it('placing', async () => {
    const volume = cluster.createVolume({ replicas: 1 });
    const request = { volume, deployments: [deployment(1), deployment(2)] };
    const first = await shared.placeVolume(request);
    expect(await shared.placeVolume(request)).toEqual(first);
    const added = await shared.placeCopy({ volume, deployment: deployment(3) });
    expect(await shared.placeCopy({ volume, deployment: deployment(3) })).toEqual(added);
    expect(cluster.volumes.value(volume)?.placements).toHaveLength(3);
    expect(await codeOf(shared.placeCopy({ volume, deployment: deployment(4) }))).toBe('no-capacity');
  });

  it('a wish for the next copy is heeded once, what was said of a copy goes with it', async () => {
    const wished = cluster.node('node3');
    const volume = cluster.createVolume({ replicas: 1, phase: 'ready', nextCopyOn: wished });
    const placed = await shared.placeCopy({ volume, deployment: deployment(1) });
    expect(placed.node).toBe(wished);
    expect(cluster.volumes.value(volume)).not.toHaveProperty('nextCopyOn');
    const other = await shared.placeCopy({ volume, deployment: deployment(2) });
    const ids = [placed.deployment, other.deployment];
    await cluster.volumes.update(volume, (current) => ({ ...current, evictionCandidates: ids, evicting: ids }));
    await shared.dropPlacements({ volume, deployments: [placed.deployment] });
    expect(cluster.volumes.value(volume)).toMatchObject({
      placements: [other],
      evictionCandidates: [other.deployment],
      evicting: [other.deployment],
    });
    await shared.dropPlacements({ volume, deployments: [other.deployment] });
    for (const field of ['evictionCandidates', 'evicting']) {
      expect(cluster.volumes.value(volume)).not.toHaveProperty(field);
    }
  });

  it('the first membership', async () => {
    const volume = await aServingVolume();
    const before = cluster.record(volume);
    const { placements } = cluster.volumes.value(volume)!;
    const again = await shared.initialiseMembership({ volume, placements, incarnation: 'other' as Incarnation });
    expect(again.epoch).toBe(before.epoch);
    expect(cluster.record(volume)).toEqual(before);
  });

  it('moving an attachment', async () => {
    const volume = await aServingVolume();
    const expected = 0 as Generation;
    const moved = await shared.moveAttachment({ volume, expected, node });
    expect(moved).toEqual({ generation: expect.any(Number), node });
    expect(await shared.moveAttachment({ volume, expected, node })).toEqual(moved);
    expect(await codeOf(shared.moveAttachment({ volume, expected }))).toBe('stale-write');
    const other = cluster.node('node2');
    expect(await codeOf(shared.moveAttachment({ volume, expected, node: other }))).toBe('stale-write');
  });

  it('moving an attachment of which a restored etcd has forgotten the latest', async () => {
    const volume = await aServingVolume();
    const expected = 0 as Generation;
    // By a clock that was ahead of this one.
    cluster.generation = Date.now() + 3_600_000;
    const moved = await shared.moveAttachment({ volume, expected, node });
    expect(moved).toEqual({ generation: cluster.generation + 1, node });
    // The primary has fenced it already, by an attachment that etcd has forgotten.
    cluster.generation += 5;
    const again = await shared.moveAttachment({ volume, expected, node });
    expect(again).toEqual({ generation: cluster.generation + 1, node });
    // A primary that does not answer keeps nobody from attaching.
    cluster.kill(cluster.record(volume).primary.node);
    const later = await shared.moveAttachment({ volume, expected: again.generation, node });
    expect(later.generation).toBeGreaterThan(again.generation);
  });

  it('dropping and erasing a copy', async () => {
    const volume = await aServingVolume();
    const placed = cluster.volumes.value(volume)!.placements[1]!;
    const there = createNodeBoundActivities(cluster.deps(placed.node, async () => {}));
    await there.eraseDeployment({ deployment: placed.deployment });
    expect(cluster.copies.has(placed.deployment)).toBe(true); // no tombstone, no erasure
    const request = { volume, deployments: [placed.deployment] };
    expect(await codeOf(shared.dropPlacements(request))).toBe('invalid-state'); // it is in sync
    expect(cluster.tombstones.values.size).toBe(0);
    const { primary } = cluster.record(volume);
    await bound.removeMember({ volume, source: primary.deployment, member: placed.deployment, reason: 'surplus' });
    expect(await codeOf(shared.dropPlacements({ volume, deployments: [primary.deployment] }))).toBe('invalid-state');
    expect(await shared.dropPlacements(request)).toEqual([placed]);
    expect(await shared.dropPlacements(request)).toEqual([]);
    await there.eraseDeployment({ deployment: placed.deployment });
    await there.eraseDeployment({ deployment: placed.deployment });
    expect(cluster.copies.has(placed.deployment)).toBe(false);
    expect(cluster.tombstones.values.size).toBe(0);
  });

  it('deleting', async () => {
    const volume = await aServingVolume();
    const placements = await shared.beginDeletion({ volume, offline: false });
    expect(await shared.beginDeletion({ volume, offline: false })).toEqual(placements);
    await shared.finishDeletion({ volume, placements });
    await shared.finishDeletion({ volume, placements });
    expect(cluster.tombstones.values.size).toBe(2);
    expect(await codeOf(shared.beginDeletion({ volume, offline: false }))).toBe('not-found');
  });

  it('removing: the primary is asked even about a copy that is not in sync yet', async () => {
    const volume = await aServingVolume();
    const { primary } = cluster.record(volume);
    const asked: DeploymentId[] = [];
    const removeMember = async (_: DeploymentId, member: DeploymentId) => void asked.push(member);
    const { removeMember: remove } = createNodeBoundActivities({
      ...deps,
      replication: { ...deps.replication, removeMember },
    });
    const request = { volume, source: primary.deployment, member: deployment(9), reason: 'dropped' };
    await remove(request);
    expect(asked).toEqual([deployment(9)]);
    const other = cluster.record(volume).inSync.find((id) => id !== primary.deployment)!;
    expect(await codeOf(remove({ ...request, source: other }))).toBe('invalid-state');
  });

  it('a sync of a copy that is in sync', async () => {
    const volume = await aServingVolume();
    const { primary, inSync, epoch } = cluster.record(volume);
    const target = inSync.find((member) => member !== primary.deployment)!;
    const result = await run(bound.syncReplica, { volume, source: primary.deployment, target, epoch });
    expect(result.blocksCopied).toBe(0);
  });
});

describe('asking copies', () => {
  it('gives a node that is dead by what gossip says little time, and the others theirs', async () => {
    const timeouts = new Map<NodeId, number>();
    const [one, two] = [cluster.node('node1'), cluster.node('node2')];
    const answers = await askCopies(
      {
        ...deps,
        nodeHealth: (asked) => (asked === one ? 'dead' : asked === two ? 'suspect' : undefined),
        replication: {
          ...deps.replication,
          remoteStatus: async (copy, timeoutMs) => {
            timeouts.set(copy.node, timeoutMs);
            throw new DomainError('node-unavailable', 'no');
          },
        },
      },
      ['node1', 'node2', 'node3'].map((name, i) => ({ deployment: deployment(i), node: cluster.node(name) })),
    );
    const { statusTimeoutMs, deadStatusTimeoutMs } = deps.settings;
    expect(deadStatusTimeoutMs).toBeLessThan(statusTimeoutMs);
    expect([...timeouts.values()]).toEqual([deadStatusTimeoutMs, statusTimeoutMs, statusTimeoutMs]);
    expect([...answers.values()]).toEqual(['unreachable', 'unreachable', 'unreachable']);
  });
});

describe('naming a primary', () => {
  it('does nothing under another epoch, or while the primary serves', async () => {
    const volume = await aServingVolume();
    const before = cluster.record(volume);
    expect(await shared.namePrimary({ volume, epoch: 1 as Epoch })).toMatchObject({ outcome: 'unneeded' });
    expect(await shared.namePrimary({ volume, epoch: before.epoch })).toMatchObject({ outcome: 'unneeded' });
    expect(cluster.record(volume)).toEqual(before);
  });

  it('names the other copy, and not twice', async () => {
    const volume = await aServingVolume();
    const before = cluster.record(volume);
    cluster.kill(before.primary.node);
    const named = await shared.namePrimary({ volume, epoch: before.epoch });
    expect(named).toMatchObject({ outcome: 'named', epoch: before.epoch + 1, lossy: false });
    expect(await shared.namePrimary({ volume, epoch: before.epoch })).toMatchObject({ outcome: 'unneeded' });
  });

  it('names another one than a primary that answers and is stalled, only if told so', async () => {
    const volume = await aServingVolume();
    const { epoch, primary } = cluster.record(volume);
    const copy = cluster.copies.get(primary.deployment)!;
    copy.serving = false;
    copy.sequence = 9 as Sequence;
    expect(await shared.namePrimary({ volume, epoch })).toMatchObject({ outcome: 'unneeded' });
    const named = await shared.namePrimary({ volume, epoch, stalled: true });
    expect(named).toMatchObject({ outcome: 'named', epoch: epoch + 1, lossy: false });
    expect(cluster.record(volume).primary.deployment).not.toBe(primary.deployment);
  });

  it('waits when no complete copy answers', async () => {
    const volume = await aServingVolume(0);
    const before = cluster.record(volume);
    cluster.kill(before.primary.node);
    const outcome = await shared.namePrimary({ volume, epoch: before.epoch });
    expect(outcome).toMatchObject({ outcome: 'wait' });
    expect(cluster.record(volume)).toEqual(before);
  });

  it('an outcome that etcd leaves open is to be retried', async () => {
    const volume = await aServingVolume();
    const { epoch, primary } = cluster.record(volume);
    cluster.kill(primary.node);
    const swap = async () => 'unknown' as const;
    const unsure = createSharedActivities({
      ...deps,
      state: { ...deps.state, membershipStore: { ...deps.state.membershipStore, swap } },
    });
    expect(await codeOf(unsure.namePrimary({ volume, epoch }))).toBe('store-unavailable');
  });

  it('a wait for a primary that never serves ends', async () => {
    const volume = await aServingVolume(0);
    const { epoch, primary } = cluster.record(volume);
    cluster.kill(primary.node);
    expect(await run(shared.awaitServing, { volume, epoch, timeoutMs: 200 })).toBe(false);
  });
});

describe('guards', () => {
  it('no sync under an epoch that the record has not reached, none by another than the primary', async () => {
    const volume = await aServingVolume(0);
    const { primary, epoch } = cluster.record(volume);
    const target = deployment(9);
    const ahead = { volume, source: primary.deployment, target, epoch: (epoch + 1) as Epoch };
    expect(await codeOf(run(bound.syncReplica, ahead))).toBe('stale-write');
    expect(await codeOf(run(bound.syncReplica, { ...ahead, source: target, epoch }))).toBe('invalid-state');
  });

  it('a frontend opens only under the newest generation of its own node', async () => {
    const volume = await aServingVolume();
    const { generation } = await shared.moveAttachment({ volume, expected: 0 as Generation, node });
    expect(await codeOf(bound.openAttachment({ volume, generation: 0 as Generation }))).toBe('invalid-state');
    expect(await bound.openAttachment({ volume, generation })).toHaveProperty('nbdUri');
    const elsewhere = createNodeBoundActivities(cluster.deps(cluster.node('node2'), async () => {}));
    expect(await codeOf(elsewhere.openAttachment({ volume, generation }))).toBe('invalid-state');
  });

  it('nothing is attached of which no copy answers', async () => {
    const volume = await aServingVolume();
    const [first, second] = cluster.volumes.value(volume)!.placements as [Placement, Placement];
    const check = (on: NodeId) => run(shared.checkAttachable, { volume, node: on });
    const attachable = (on: NodeId) => codeOf(check(on));
    const others = ['node1', 'node2', 'node3'].map((name) => cluster.node(name));
    const free = others.find((each) => each !== first.node && each !== second.node)!;
    cluster.kill(first.node);
    expect(await attachable(first.node)).toBe('node-unavailable');
    expect(await attachable(free)).toBe('none');
    cluster.kill(second.node);
    await expect(check(free)).rejects.toMatchObject({
      code: 'node-unavailable',
      message: expect.stringMatching(/no copy of volume .* answers: .*node\d \(cannot be reached\)$/),
    });
    // Whoever has it already may wait for it.
    await shared.moveAttachment({ volume, expected: 0 as Generation, node: free });
    expect(await attachable(free)).toBe('none');
  });

  it('a deletion that was accepted is never taken back', async () => {
    const volume = await aServingVolume();
    await shared.beginDeletion({ volume, offline: false });
    await shared.setPhase({ volume, phase: 'ready' });
    expect(cluster.volumes.value(volume)?.phase).toBe('deleting');
    expect(await codeOf(shared.placeCopy({ volume, deployment: deployment(7) }))).toBe('invalid-state');
  });
});

describe('recovery', () => {
  async function aRolledBackVolume() {
    const volume = await aServingVolume(2);
    await vi.waitFor(() => expect(cluster.record(volume).active).toBe(true));
    const snapshot = cluster.record(volume);
    const primary = cluster.record(volume).primary.node;
    const [gone] = cluster.volumes.value(volume)!.placements.filter((placed) => placed.node !== primary);
    cluster.kill(gone!.node);
    await vi.waitFor(() => expect(cluster.record(volume)).toMatchObject({ active: true, epoch: snapshot.epoch + 1 }));
    await vi.waitFor(() =>
      expect(cluster.copies.get(cluster.record(volume).primary.deployment)!.promised).toBe(snapshot.epoch + 1),
    );
    cluster.write(volume, 10);
    cluster.memberships.values.set(volume, { value: snapshot, version: 'older' });
    return { volume, gone: gone!, snapshot };
  }

  it('finds nothing wrong with a volume that is well', async () => {
    const volume = await aServingVolume(1);
    await vi.waitFor(() => expect(cluster.record(volume).active).toBe(true));
    expect(await shared.surveyVolume({ volume })).toEqual({ volume, reasons: [], risks: [], recovered: false });
    const env = new MockActivityEnvironment();
    expect(await env.run(() => shared.recoverMembership({ volume, acceptLoss: false }))).toMatchObject({
      recovered: false,
    });
  });

  it('refuses while a copy does not answer, and says what may be lost; nothing is changed by that', async () => {
    const { volume, gone, snapshot } = await aRolledBackVolume();
    const report = await shared.surveyVolume({ volume });
    expect(report).toMatchObject({ reasons: ['epoch-behind'], recovered: false });
    expect(report.risks).toEqual([expect.stringContaining(gone.deployment)]);
    await expect(shared.recoverMembership({ volume, acceptLoss: false })).rejects.toMatchObject({
      code: 'invalid-state',
      message: expect.stringContaining(gone.deployment),
    });
    expect(cluster.record(volume)).toEqual(snapshot);
  });

  it('writes what the copies know once all answer, and the volume is served under it', async () => {
    const { volume, gone, snapshot } = await aRolledBackVolume();
    cluster.start(gone.node);
    const report = await shared.recoverMembership({ volume, acceptLoss: false });
    expect(report).toMatchObject({ recovered: true, epoch: snapshot.epoch + 2, risks: [] });
    expect(cluster.tombstones.values.size).toBe(0);
    expect(report.inSync).not.toContain(gone.deployment);
    await vi.waitFor(() => expect(cluster.record(volume)).toMatchObject({ active: true, inSync: report.inSync }));
    expect(cluster.record(volume).history.length).toBeGreaterThan(snapshot.history.length);
  });

  it('goes on without what is gone if that is accepted', async () => {
    const { volume, gone } = await aRolledBackVolume();
    const report = await shared.recoverMembership({ volume, acceptLoss: true });
    expect(report).toMatchObject({ recovered: true, risks: [expect.stringContaining('lost')] });
    expect(report.inSync).not.toContain(gone.deployment);
    expect(cluster.volumes.value(volume)!.placements).not.toContainEqual(gone);
    expect(cluster.tombstones.value(gone.deployment)).toMatchObject({ volume, node: gone.node });
  });

  it('fences attachments that etcd does not remember', async () => {
    const { volume, gone } = await aRolledBackVolume();
    cluster.start(gone.node);
    cluster.generation = 5;
    await shared.recoverMembership({ volume, acceptLoss: false });
    expect(cluster.attachments.value(volume)!.generation).toBeGreaterThan(5);
  });

  it('places no copy that its node may erase', async () => {
    const { volume, gone } = await aRolledBackVolume();
    cluster.tombstones.put({ ...gone, volume, deletedAt: '' });
    cluster.start(gone.node);
    const report = await shared.recoverMembership({ volume, acceptLoss: true });
    expect(report.inSync).not.toContain(gone.deployment);
    expect(cluster.volumes.value(volume)!.placements).toHaveLength(2);
    expect(cluster.volumes.value(volume)!.placements).not.toContainEqual(gone);
  });

  it('has copies of another etcd adopt the present one, and names the volume whose copies are all away', async () => {
    const volume = await aServingVolume(1);
    await vi.waitFor(() => expect(cluster.record(volume).active).toBe(true));
    for (const copy of cluster.copies.values()) copy.etcdClusterId = 'cd34';
    expect(await shared.recoverMembership({ volume, acceptLoss: false })).toMatchObject({
      reasons: ['other-cluster'],
      recovered: true,
    });
    for (const copy of cluster.copies.values()) expect(copy.etcdClusterId).toBe('ab12');
    cluster.memberships.values.delete(volume);
    for (const { node } of cluster.volumes.value(volume)!.placements) cluster.kill(node);
    await expect(shared.recoverMembership({ volume, acceptLoss: true })).rejects.toMatchObject({
      code: 'node-unavailable',
    });
  });
});

describe('a volume of which etcd has no record', () => {
  /** Made after the snapshot that etcd was restored from. */
  async function aLostVolume({ encryption = false } = {}) {
    const volume = await aServingVolume(1);
    await vi.waitFor(() => expect(cluster.record(volume).active).toBe(true));
    cluster.generation = 4;
    const { value: record } = await cluster.volumes.update(volume, (current) => ({ ...current, encryption }));
    const promised = Math.max(...[...cluster.copies.values()].map((copy) => copy.promised));
    cluster.lose(volume);
    const namespace = cluster.namespaces.value(record.namespace)!;
    return { volume, record, namespace, promised };
  }

  it('is listed with its copies and its name; not one that is being deleted', async () => {
    const { volume, record, namespace, promised } = await aLostVolume();
    const { volumes } = await listLostVolumes(deps);
    expect(volumes).toEqual([
      {
        id: volume,
        name: record.name,
        namespaceName: namespace.name,
        sizeBytes: 2 ** 30,
        epoch: promised,
        copies: expect.arrayContaining([...record.placements]),
      },
    ]);
    cluster.kill(cluster.node('node3'));
    expect((await listLostVolumes(deps)).silent).toEqual([cluster.node('node3')]);
    for (const { deployment, node } of record.placements) {
      cluster.tombstones.put({ deployment, volume, node, deletedAt: new Date().toISOString() });
    }
    expect((await listLostVolumes(deps)).volumes).toEqual([]);
    expect(await codeOf(surveyLostVolume(deps, volume))).toBe('not-found');
  });

  it('comes back as it was, detached, under a higher epoch and generation, and is served', async () => {
    const { volume, record, promised } = await aLostVolume();
    expect(await surveyLostVolume(deps, volume)).toMatchObject({
      reasons: ['no-record'],
      risks: [],
      obstacles: [],
      name: record.name,
      recovered: false,
      copies: [{ complete: true }, { complete: true }],
    });
    expect(cluster.volumes.value(volume)).toBeUndefined();
    const report = await shared.recoverLostVolume({ volume, acceptLoss: false });
    expect(report).toMatchObject({ recovered: true, epoch: promised + 1 });
    expect(cluster.volumes.value(volume)).toEqual({ ...record, updatedAt: expect.any(String) });
    expect(cluster.attachments.value(volume)!.generation).toBeGreaterThan(4);
    expect(cluster.attachments.value(volume)).not.toHaveProperty('node');
    expect(await run(shared.awaitServing, { volume, epoch: report.epoch!, timeoutMs: 5_000 })).toBe(true);
    // Asked again, as by the next attempt of the same activity.
    expect(await shared.recoverLostVolume({ volume, acceptLoss: false })).toMatchObject({
      recovered: true,
      reasons: [],
    });
    expect(await codeOf(surveyLostVolume(deps, volume))).toBe('not-found');
  });

  it('needs the acceptance of what may be lost, and another name where its own is taken', async () => {
    const { volume, record, namespace } = await aLostVolume();
    cluster.volumes.put(aVolume({ name: record.name, namespace: namespace.id }));
    cluster.kill(record.placements[1]!.node);
    const refused = shared.recoverLostVolume({ volume, acceptLoss: false });
    await expect(refused).rejects.toMatchObject({
      code: 'invalid-state',
      message: expect.stringContaining(record.name),
    });
    const named = { volume, name: 'another' };
    await expect(shared.recoverLostVolume({ ...named, acceptLoss: false })).rejects.toMatchObject({
      code: 'invalid-state',
      message: expect.stringContaining(record.placements[1]!.deployment),
    });
    expect(cluster.volumes.value(volume)).toBeUndefined();
    expect(await shared.recoverLostVolume({ ...named, acceptLoss: true })).toMatchObject({ recovered: true });
    expect(cluster.volumes.value(volume)).toMatchObject({ name: 'another', placements: [record.placements[0]] });
    const [, gone] = record.placements;
    expect(cluster.tombstones.value(gone!.deployment)).toMatchObject({ volume, node: gone!.node });
  });

  it('is not lost if its deletion ends while the nodes are asked', async () => {
    const { volume, record } = await aLostVolume();
    for (const { deployment, node } of record.placements) {
      cluster.tombstones.put({ deployment, volume, node, deletedAt: new Date().toISOString() });
    }
    const { survey, held } = deps.replication;
    let answers = 0;
    const erasedAfter = async <T>(answer: Promise<T>): Promise<T> => {
      const told = await answer;
      // The last to answer says what it has, then all erase and bury.
      if (++answers === cluster.nodes.values.size) cluster.tombstones.values.clear();
      return told;
    };
    const replication = {
      ...deps.replication,
      survey: (...args: Parameters<typeof survey>) => erasedAfter(survey(...args)),
      held: (...args: Parameters<typeof held>) => erasedAfter(held(...args)),
    };
    expect((await listLostVolumes({ ...deps, replication })).volumes).toEqual([]);
    for (const { deployment, node } of record.placements) {
      cluster.tombstones.put({ deployment, volume, node, deletedAt: new Date().toISOString() });
    }
    answers = 0;
    expect(await codeOf(surveyLostVolume({ ...deps, replication }, volume))).toBe('not-found');
    expect(cluster.tombstones.values.size).toBe(0);
  });

  it('comes back from a deletion only if that is accepted', async () => {
    const { volume, record, namespace } = await aLostVolume();
    cluster.memory.set(volume, { volume: { ...record, phase: 'deleting' }, namespaceName: namespace.name });
    expect((await surveyLostVolume(deps, volume)).risks).toEqual([expect.stringContaining('deletion')]);
    await expect(shared.recoverLostVolume({ volume, acceptLoss: false })).rejects.toMatchObject({
      code: 'invalid-state',
      message: expect.stringContaining('deletion'),
    });
    expect(await shared.recoverLostVolume({ volume, acceptLoss: true })).toMatchObject({ recovered: true });
    expect(cluster.volumes.value(volume)?.phase).toBe('ready');
  });

  it('does not come back encrypted without its key', async () => {
    const { volume } = await aLostVolume({ encryption: true });
    await expect(shared.recoverLostVolume({ volume, acceptLoss: true })).rejects.toMatchObject({
      code: 'invalid-state',
      message: expect.stringMatching(/key is not in the key store/),
    });
    cluster.keys.add(volume);
    cluster.badKeys.add(volume);
    expect((await surveyLostVolume(deps, volume)).obstacles.join()).toMatch(/cluster key/);
    cluster.badKeys.delete(volume);
    expect(await shared.recoverLostVolume({ volume, acceptLoss: false })).toMatchObject({ recovered: true });
    expect(cluster.volumes.value(volume)?.encryption).toBe(true);
  });

  it('tells by its blocks whether they are encrypted, if nobody remembers it', async () => {
    const { volume, namespace } = await aLostVolume();
    cluster.memory.clear();
    const wishes = { name: 'found', namespace: namespace.id };
    const block = { epoch: 1, sequence: 1, storedLength: 9, checksumLow: 0, checksumHigh: 0 };
    for (const copy of cluster.copies.values()) {
      copy.inventory = [
        { ...block, block: 0, kind: KIND_ZERO, flags: 0 },
        { ...block, block: 1, kind: KIND_DATA, flags: FLAG_LZ4 | FLAG_XTS },
      ];
    }
    expect((await surveyLostVolume(deps, volume, wishes)).obstacles.join()).toMatch(/encrypted/);
    for (const copy of cluster.copies.values()) copy.inventory = [{ ...block, block: 1, kind: KIND_DATA, flags: 0 }];
    expect((await surveyLostVolume(deps, volume)).obstacles.join()).toMatch(/name and namespace/);
    const replication = { ...deps.replication, remoteInventory: () => Promise.reject(new Error('no answer')) };
    expect((await surveyLostVolume({ ...deps, replication }, volume, wishes)).obstacles.join()).toMatch(
      /no copy tells/,
    );
    await shared.recoverLostVolume({ volume, acceptLoss: false, ...wishes });
    expect(cluster.volumes.value(volume)).toMatchObject({ name: 'found', encryption: false, replicas: 1 });
  });
});

describe('compareCopies', () => {
  const copies: Placement[] = [1, 2, 3].map((n) => ({ deployment: deployment(n), node: id(100 + n) as NodeId }));
  const block = (n: number, sequence = n): InventoryBlock => ({
    block: n,
    epoch: 1,
    sequence,
    kind: 1,
    flags: 1,
    storedLength: 10,
    checksumLow: sequence,
    checksumHigh: 0,
  });
  const paged = (inventories: InventoryBlock[][], pageBlocks: number) =>
    compareCopies(copies.slice(0, inventories.length), async (copy, from) => {
      const blocks = inventories[copies.indexOf(copy)]!.filter((found) => found.block >= from);
      const page = blocks.slice(0, pageBlocks);
      return blocks.length > pageBlocks ? { blocks: page, next: page.at(-1)!.block + 1 } : { blocks: page };
    });
  const range = (count: number) => Array.from({ length: count }, (_, n) => block(n));

  it.each([1, 3, 7, 100])('finds identical copies identical, with pages of %i', async (pageBlocks) => {
    const result = await paged([range(20), range(20), range(20)], pageBlocks);
    expect(result).toEqual({ blocks: [20, 20, 20], differingBlocks: 0, differences: [] });
  });

  it.each([1, 3, 7, 100])('finds every block that differs or is missing, with pages of %i', async (pageBlocks) => {
    const changed = range(20).map((found) => (found.block === 5 ? block(5, 99) : found));
    const shorter = range(20).filter((found) => found.block !== 0 && found.block !== 19);
    const result = await paged([range(20), changed, shorter], pageBlocks);
    expect(result.differences.map(({ block: number }) => number)).toEqual([0, 5, 19]);
    expect(result.blocks).toEqual([20, 20, 18]);
  });

  it.each(['epoch', 'sequence', 'kind', 'flags', 'storedLength', 'checksumLow', 'checksumHigh'] as const)(
    'looks at %s',
    async (field) => {
      const other = { ...block(3), [field]: 77 };
      expect((await paged([[block(3)], [other]], 10)).differingBlocks).toBe(1);
    },
  );

  it('reports only the first ones and counts all', async () => {
    const result = await paged([range(500), []], 64);
    expect(result.differingBlocks).toBe(500);
    expect(result.differences).toHaveLength(MAX_REPORTED_DIFFERENCES);
  });

  it('an inventory that does not go on is an error, not a loop', async () => {
    const stuck = compareCopies(copies.slice(0, 1), async () => ({ blocks: [], next: 0 }));
    await expect(stuck).rejects.toMatchObject({ code: 'internal' });
  });
});
