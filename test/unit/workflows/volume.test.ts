import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DomainError } from '../../../core/errors.js';
import type { NodeId, VolumeId } from '../../../core/types.js';
import { volumeWorkflowId } from '../../../workflows/names.js';
import { PHASE_ATTRIBUTE, VOLUME_ATTRIBUTE } from '../../../workflows/search-attributes.js';
import { Harness, until } from './harness.js';

let harness: Harness;
const waitMs = 20_000;

beforeAll(async () => {
  // Low, so that the volumes' workflows continue as new in the middle of these tests.
  harness = await Harness.start({ nodes: 3, suggestContinueAsNewAt: 150 });
});

afterAll(async () => {
  await harness?.stop();
});

async function refusal(call: Promise<unknown>): Promise<DomainError> {
  try {
    await call;
  } catch (error) {
    if (error instanceof DomainError) return error;
    throw error;
  }
  throw new Error('it was not refused');
}

const placements = (volume: VolumeId) => harness.cluster.volumes.value(volume)?.placements ?? [];
const inSync = (volume: VolumeId) => harness.cluster.record(volume).inSync;
const spareNode = (volume: VolumeId): NodeId =>
  [...harness.cluster.nodes.values.keys()].find((node) => !placements(volume).some((placed) => placed.node === node))!;

describe('provisioning', () => {
  it('makes the copies, the membership and the key, and waits until the volume serves', async () => {
    const volume = await harness.volume({ replicas: 1, encryption: true, name: 'first' });
    const record = harness.cluster.volumes.value(volume);
    expect(record?.phase).toBe('ready');
    expect(record?.placements).toHaveLength(2);
    expect(new Set(record?.placements.map(({ node }) => node)).size).toBe(2);
    const membership = harness.cluster.record(volume);
    expect(membership).toMatchObject({ active: true, inSync: record?.placements.map(({ deployment }) => deployment) });
    expect(membership.primary.deployment).toBe(record?.placements[0]?.deployment);
    expect(harness.cluster.keys.has(volume)).toBe(true);

    const handle = harness.env.client.workflow.getHandle(volumeWorkflowId(volume));
    await until('the workflow has looked', async () => {
      const { typedSearchAttributes } = await handle.describe();
      return typedSearchAttributes.get(PHASE_ATTRIBUTE) === 'healthy';
    });
    const description = await handle.describe();
    expect(description.typedSearchAttributes.get(VOLUME_ATTRIBUTE)).toBe(volume);
    expect(await description.staticSummary()).toBe('Volume first');

    await harness.controller.provision(volume, { waitMs });
    expect(placements(volume)).toEqual(record?.placements);
  });

  it('refuses with a reason for each node, and leaves nothing half-made', async () => {
    const volume = harness.cluster.createVolume({ replicas: 3 });
    const error = await refusal(harness.controller.provision(volume, { waitMs }));
    expect(error.code).toBe('no-capacity');
    expect(error.message).toContain('4 needed, 3 found');
    const record = harness.cluster.volumes.value(volume);
    expect(record).toMatchObject({ phase: 'failed', reason: error.message, placements: [] });
    await harness.controller.remove(volume, { offline: false, waitMs });
    expect(harness.cluster.volumes.value(volume)).toBeUndefined();
  });

  it('unmakes what was made when a node cannot make its copy', async () => {
    const { cluster } = harness;
    const broken = cluster.node('node2');
    cluster.faults.set(`create on ${broken}`, new DomainError('no-capacity', 'node2: no space'));
    try {
      const volume = cluster.createVolume({ replicas: 2, encryption: true });
      const error = await refusal(harness.controller.provision(volume, { waitMs }));
      expect(error).toMatchObject({ code: 'no-capacity', message: 'node2: no space' });
      expect(cluster.volumes.value(volume)).toMatchObject({ phase: 'failed', placements: [] });
      expect([...cluster.copies.values()].filter((copy) => copy.volume === volume)).toEqual([]);
      expect([...cluster.tombstones.values.values()].filter(({ value }) => value.volume === volume)).toEqual([]);
      expect(cluster.memberships.value(volume)).toBeUndefined();
      expect(cluster.keys.has(volume)).toBe(false);

      cluster.faults.clear();
      await harness.controller.provision(volume, { waitMs });
      expect(cluster.volumes.value(volume)?.phase).toBe('ready');
    } finally {
      cluster.faults.clear();
    }
  });

  it('makes one that could not be made, when it can be made and nobody has taken it away', async () => {
    const { cluster } = harness;
    const broken = cluster.node('node2');
    cluster.faults.set(`create on ${broken}`, new DomainError('no-capacity', 'node2: no space'));
    const volume = cluster.createVolume({ replicas: 2 });
    try {
      await refusal(harness.controller.provision(volume, { waitMs }));
    } finally {
      cluster.faults.clear();
    }
    await until('it is made', () => cluster.volumes.value(volume)?.phase === 'ready');
    expect(cluster.volumes.value(volume)).not.toHaveProperty('reason');
  });

  it('an unknown volume is not found', async () => {
    const unknown = '00000000-0000-4000-8000-000000000000' as VolumeId;
    const error = await refusal(harness.controller.provision(unknown, { waitMs }));
    expect(error.code).toBe('not-found');
  });
});

describe('attaching', () => {
  it('raises the generation, opens on the node, and is idempotent', async () => {
    const { cluster, controller } = harness;
    const volume = await harness.volume();
    const [one, two] = [cluster.node('node1'), cluster.node('node2')];
    await controller.attach(volume, one, { waitMs });
    const { generation, node } = cluster.attachments.value(volume)!;
    expect(node).toBe(one);
    expect(generation).toBeGreaterThan(0);
    expect(cluster.shown.get(one)?.get(volume)).toBe(generation);

    await controller.attach(volume, one, { waitMs });
    expect(cluster.attachments.value(volume)?.generation).toBe(generation);

    expect((await refusal(controller.attach(volume, two, { waitMs }))).code).toBe('in-use');
    expect((await refusal(controller.remove(volume, { offline: false, waitMs }))).code).toBe('invalid-state');

    await controller.detach(volume, { waitMs });
    expect(cluster.attachments.value(volume)).toMatchObject({ generation: generation + 1 });
    expect(cluster.attachments.value(volume)?.node).toBeUndefined();
    expect(cluster.shown.get(one)?.has(volume)).toBe(false);
    await controller.detach(volume, { waitMs });
    expect(cluster.attachments.value(volume)?.generation).toBe(generation + 1);
  });

  it('detaches again when the node cannot open it', async () => {
    const { cluster, controller } = harness;
    const volume = await harness.volume();
    const node = cluster.node('node3');
    cluster.faults.set(`open on ${node}`, new DomainError('invalid', 'socket path too long'));
    try {
      const error = await refusal(controller.attach(volume, node, { waitMs }));
      expect(error).toMatchObject({ code: 'invalid', message: 'socket path too long' });
      expect(cluster.attachments.value(volume)?.generation).toBeGreaterThan(0);
      expect(cluster.attachments.value(volume)?.node).toBeUndefined();
    } finally {
      cluster.faults.clear();
    }
  });

  it('stays attached while the filesystem is busy', async () => {
    const { cluster, controller } = harness;
    const volume = await harness.volume();
    const node = cluster.node('node1');
    await controller.attach(volume, node, { waitMs });
    const { generation } = cluster.attachments.value(volume)!;
    cluster.faults.set(`close on ${node}`, new DomainError('in-use', 'still mounted'));
    try {
      expect((await refusal(controller.detach(volume, { waitMs }))).code).toBe('in-use');
      expect(cluster.attachments.value(volume)).toMatchObject({ node, generation });
    } finally {
      cluster.faults.clear();
    }
    await controller.detach(volume, { waitMs });
  });

  it('refuses unknown and malformed nodes', async () => {
    const volume = await harness.volume();
    const unknown = '00000000-0000-4000-8000-00000000000f' as NodeId;
    expect((await refusal(harness.controller.attach(volume, unknown, { waitMs }))).code).toBe('not-found');
    const malformed = 'node1' as NodeId;
    expect((await refusal(harness.controller.attach(volume, malformed, { waitMs }))).code).toBe('invalid');
  });
});

describe('a primary that fails', () => {
  it('is replaced; a new copy is made after the grace period; the old one goes when it is back', async () => {
    const { cluster, controller } = harness;
    const volume = await harness.volume({ replicas: 1 });
    const before = cluster.record(volume);
    const old = before.primary;
    const spare = spareNode(volume);
    cluster.write(volume, 100);
    await harness.kill(old.node);
    await controller.look(volume, 'the test killed the primary');
    await until('another primary serves', () => {
      const { primary } = cluster.record(volume);
      return primary.node !== old.node && cluster.copies.get(primary.deployment)?.serving === true;
    });
    expect(cluster.record(volume).epoch).toBeGreaterThan(before.epoch);
    expect(placements(volume)).toHaveLength(2);

    await until('a new copy is in sync', () => inSync(volume).length === 2);
    expect(placements(volume).map(({ node }) => node)).toContain(spare);
    expect(cluster.copies.has(old.deployment)).toBe(true);

    harness.start(old.node);
    await controller.look(volume, 'the test started the node');
    await until('the old copy is erased', () => !cluster.copies.has(old.deployment));
    await until('its tombstone is gone', () => !cluster.tombstones.values.has(old.deployment));
    expect(placements(volume)).toHaveLength(2);
  });

  it('is taken back after a restart, under another incarnation', async () => {
    const { cluster, controller } = harness;
    const volume = await harness.volume({ replicas: 1 });
    const before = cluster.record(volume);
    cluster.restart(before.primary.node);
    await controller.look(volume, 'the test restarted the primary');
    await until('it serves again', () => {
      const { primary } = cluster.record(volume);
      return (
        primary.incarnation !== before.primary.incarnation && cluster.copies.get(primary.deployment)?.serving === true
      );
    });
    const after = cluster.record(volume);
    expect(after.primary.deployment).toBe(before.primary.deployment);
    expect(after.inSync).toHaveLength(2);
  });

  it('is replaced while a command hangs on another node', async () => {
    const { cluster, controller } = harness;
    const volume = await harness.volume({ replicas: 1 });
    const before = cluster.record(volume);
    const user = spareNode(volume);
    let release = (): void => {};
    const hanging = new Promise<void>((resolve) => {
      release = resolve;
    });
    cluster.hangs.set(`open on ${user}`, hanging);
    const attached = controller.attach(volume, user, { waitMs: 20_000 });
    try {
      await until('the record is attached', () => cluster.attachments.value(volume)?.node === user);
      await harness.kill(before.primary.node);
      await until('another primary serves', () => {
        const { primary, active } = cluster.record(volume);
        return active && primary.deployment !== before.primary.deployment;
      });
    } finally {
      cluster.hangs.clear();
      release();
    }
    await attached;
    expect(cluster.shown.get(user)?.has(volume)).toBe(true);
    harness.start(before.primary.node);
  });

  it('without another copy waits for it, and says so', async () => {
    const { cluster, controller } = harness;
    const volume = await harness.volume({ replicas: 0 });
    const { primary, epoch } = cluster.record(volume);
    await harness.kill(primary.node);
    await controller.look(volume, 'the test killed the only copy');
    const handle = harness.env.client.workflow.getHandle(volumeWorkflowId(volume));
    await until('the workflow says that the primary is missing', async () => {
      return (await handle.describe()).typedSearchAttributes.get(PHASE_ATTRIBUTE) === 'no-primary';
    });
    expect(cluster.record(volume).epoch).toBe(epoch);
    harness.start(primary.node);
    await until('it serves again', () => cluster.copies.get(primary.deployment)?.serving === true);
  });
});

describe('copies', () => {
  it('a member that comes back in time is synced, not replaced', async () => {
    const { cluster, controller } = harness;
    const volume = await harness.volume({ replicas: 1 });
    const member = placements(volume)[1]!;
    await harness.kill(member.node);
    cluster.write(volume, 50);
    await controller.look(volume, 'a member left');
    harness.start(member.node);
    await controller.look(volume, 'a member is back');
    await until('it is in sync', () => inSync(volume).length === 2);
    expect(placements(volume)).toHaveLength(2);
    expect(inSync(volume)).toContain(member.deployment);
  });

  it('of the returning old copy and the half-filled new one, the one with fewer blocks to copy stays', async () => {
    const { cluster, controller } = harness;
    cluster.holdSyncs();
    try {
      const volume = await harness.volume({ replicas: 1 });
      const old = placements(volume)[1]!;
      cluster.write(volume, 1000);
      await harness.kill(old.node);
      cluster.write(volume, 50);
      await controller.look(volume, 'a member left');
      await until('a new copy is being filled', () => cluster.heldSyncs(volume).length === 1);
      const added = placements(volume).at(-1)!;
      expect(cluster.heldSyncs(volume)[0]?.target).toBe(added.deployment);
      cluster.heldSyncs(volume)[0]?.report({ blocksDone: 10 });

      harness.start(old.node);
      await controller.look(volume, 'the old copy is back');
      await until('the old one is being synced', () => cluster.heldSyncs(volume).length === 2);
      expect(cluster.heldSyncs(volume)[0]?.cancelled).toBe(true);
      expect(cluster.heldSyncs(volume)[1]?.target).toBe(old.deployment);
      cluster.heldSyncs(volume)[1]?.finish();
      await until('it is in sync', () => inSync(volume).includes(old.deployment));
      await until('the other one is erased', () => !cluster.copies.has(added.deployment));
      expect(placements(volume)).toHaveLength(2);
    } finally {
      cluster.releaseSyncs();
    }
  });

  it('replicas are added and removed at run time', async () => {
    const { cluster, controller } = harness;
    const volume = await harness.volume({ replicas: 0 });
    const want = async (replicas: number) => {
      await cluster.volumes.update(volume, (current) => ({ ...current, replicas }));
      await controller.changed(volume);
      await until(`${replicas} replicas`, () => inSync(volume).length === replicas + 1);
    };
    await want(2);
    expect(placements(volume)).toHaveLength(3);
    await want(1);
    await until('the surplus copy is erased', () => placements(volume).length === 2);
    expect(inSync(volume)).toContain(cluster.record(volume).primary.deployment);
  });

  it('commands are handled while a sync runs; a deletion cancels it', async () => {
    const { cluster, controller } = harness;
    cluster.holdSyncs();
    try {
      const volume = await harness.volume({ replicas: 0 });
      cluster.write(volume, 1000);
      await cluster.volumes.update(volume, (current) => ({ ...current, replicas: 1 }));
      await controller.changed(volume);
      await until('the sync runs', () => cluster.heldSyncs(volume).length === 1);
      const node = cluster.node('node1');
      await controller.attach(volume, node, { waitMs: 5_000 });
      expect(cluster.attachments.value(volume)?.node).toBe(node);
      await controller.detach(volume, { waitMs: 5_000 });
      await controller.remove(volume, { offline: false, waitMs: 10_000 });
      expect(cluster.volumes.value(volume)).toBeUndefined();
      await until('the sync is cancelled', () => cluster.heldSyncs(volume)[0]?.cancelled === true);
    } finally {
      cluster.releaseSyncs();
    }
  });

  it('survives continue-as-new in the middle of a sync', async () => {
    const { cluster, controller } = harness;
    cluster.holdSyncs();
    try {
      const volume = await harness.volume({ replicas: 0 });
      cluster.write(volume, 1000);
      await cluster.volumes.update(volume, (current) => ({ ...current, replicas: 1 }));
      const first = await harness.runId(volume);
      await controller.changed(volume);
      await until('the sync runs', () => cluster.heldSyncs(volume).length === 1);
      await until(
        'another run',
        async () => {
          await controller.look(volume, 'to make history');
          return (await harness.runId(volume)) !== first;
        },
        25_000,
      );
      expect(cluster.heldSyncs(volume)).toHaveLength(1);
      cluster.heldSyncs(volume)[0]!.finish();
      await until('in sync', () => inSync(volume).length === 2);
      expect(placements(volume)).toHaveLength(2);
      await controller.attach(volume, cluster.node('node2'), { waitMs });
      await controller.detach(volume, { waitMs });
    } finally {
      cluster.releaseSyncs();
    }
  });
});

describe('deleting', () => {
  it('removes records, keys and data, and ends the workflow', async () => {
    const { cluster, controller } = harness;
    const volume = await harness.volume({ replicas: 2, encryption: true });
    await controller.remove(volume, { offline: false, waitMs });
    expect(cluster.volumes.value(volume)).toBeUndefined();
    expect(cluster.attachments.value(volume)).toBeUndefined();
    expect(cluster.memberships.value(volume)).toBeUndefined();
    expect(cluster.keys.has(volume)).toBe(false);
    expect([...cluster.copies.values()].filter((copy) => copy.volume === volume)).toEqual([]);
    await until('the workflow has ended', async () => {
      const { status } = await harness.env.client.workflow.getHandle(volumeWorkflowId(volume)).describe();
      return status.name === 'COMPLETED';
    });
    expect((await refusal(controller.remove(volume, { offline: false, waitMs }))).code).toBe('not-found');
  });

  it('leaves a tombstone for a node that is away', async () => {
    const { cluster, controller } = harness;
    const volume = await harness.volume({ replicas: 1 });
    const member = placements(volume)[1]!;
    await harness.kill(member.node);
    expect((await refusal(controller.remove(volume, { offline: true, waitMs }))).code).toBe('invalid-state');
    await controller.remove(volume, { offline: false, waitMs: 40_000 });
    expect(cluster.tombstones.value(member.deployment)).toMatchObject({ volume, node: member.node });
    harness.start(member.node);
  });
});

describe('nodes', () => {
  it('FenceNode wakes the volumes of a dead node, and detaches where asked', async () => {
    const { cluster, controller } = harness;
    const volume = await harness.volume({ replicas: 1 });
    const { primary } = cluster.record(volume);
    await controller.attach(volume, primary.node, { waitMs });
    await controller.fenceNode({ node: primary.node, reason: 'asked for', detach: true });
    await until('it has looked', async () => {
      const handle = harness.env.client.workflow.getHandle(`fence-node/${primary.node}`);
      return (await handle.describe()).status.name === 'COMPLETED';
    });
    const { generation, node } = cluster.attachments.value(volume)!;
    expect(node).toBe(primary.node);

    await harness.kill(primary.node);
    await controller.fenceNode({ node: primary.node, reason: 'gossip says that it is dead', detach: true });
    await until('another primary serves', () => cluster.record(volume).primary.node !== primary.node);
    await until('it is detached', () => cluster.attachments.value(volume)?.node === undefined);
    expect(cluster.attachments.value(volume)?.generation).toBe(generation + 1);
    harness.start(primary.node);
  });
});

describe('verifying', () => {
  const block = (n: number, sequence: number) => ({
    block: n,
    epoch: 1,
    sequence,
    kind: 1,
    flags: 0,
    storedLength: 100,
    checksumLow: 0xabcd,
    checksumHigh: 1,
  });

  it('compares the in-sync copies', async () => {
    const { cluster, controller } = harness;
    const volume = await harness.volume({ replicas: 1 });
    const [first, second] = placements(volume).map(({ deployment }) => cluster.copies.get(deployment)!);
    first!.inventory = [block(0, 1), block(7, 2)];
    second!.inventory = [block(0, 1), block(7, 2)];
    expect(await controller.verify(volume)).toMatchObject({ identical: true, differingBlocks: 0 });
    second!.inventory = [block(0, 1), block(7, 3), block(9, 4)];
    const report = await controller.verify(volume);
    expect(report).toMatchObject({ identical: false, differingBlocks: 2 });
    expect(report.deployments.map(({ blocks }) => blocks)).toEqual([2, 3]);
    expect(report.differences[0]).toMatchObject({
      block: 7,
      copies: [
        { order: { epoch: 1, sequence: 2 }, checksum: '000000010000abcd' },
        { order: { epoch: 1, sequence: 3 } },
      ],
    });
    expect(report.differences[1]?.copies[0]).toMatchObject({ order: { epoch: 0, sequence: 0 }, checksum: '' });
  });
});
