import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { Etcd3 } from 'etcd3';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Membership, Placement, Tombstone } from '../../../core/domain.js';
import { DomainError } from '../../../core/errors.js';
import type { DeploymentId, Epoch, Generation, NodeId } from '../../../core/types.js';
import { systemClock } from '../../../node-agent/clock.js';
import { ClusterState } from '../../../node-agent/state/cluster-state.js';
import { encodeValue, revisionOf, versionOf } from '../../../node-agent/state/encoding.js';
import { TestEtcd } from '../../setup/etcd.js';
import { aMembership, aNamespace, aNode, aUser, aVolume } from '../../setup/records.js';

let etcd: TestEtcd;
let state: ClusterState;
let raw: Etcd3;
let namespace: string;
const troubles: unknown[] = [];

async function connect(): Promise<ClusterState> {
  return ClusterState.connect({
    endpoints: [etcd.endpoint],
    namespace,
    clock: systemClock,
    onTrouble: (error) => troubles.push(error),
  });
}

async function until(what: string, holds: () => boolean, timeoutMs = 15_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!holds()) {
    if (Date.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

beforeAll(async () => {
  etcd = await TestEtcd.start();
  raw = new Etcd3({ hosts: etcd.endpoint });
});

afterAll(async () => {
  state?.close();
  raw?.close();
  await etcd?.destroy();
});

beforeEach(async () => {
  state?.close();
  troubles.length = 0;
  namespace = `test/${randomUUID()}`;
  state = await connect();
});

describe('versions', () => {
  it.each([
    ['2', 'Mg'],
    ['5', 'NQ'],
    ['38', 'Mzg'],
  ])('revision %s is shown as %s', (revision, version) => {
    expect(versionOf(revision)).toBe(version);
    expect(revisionOf(version)).toBe(revision);
  });

  it.each(['', 'Mg==', '!!', 'MA', 'LTE', 'x'.repeat(40)])('%s was never given', (version) => {
    expect(revisionOf(version)).toBeUndefined();
  });
});

describe('objects', () => {
  it('come back as they were written, with a version that changes with every write', async () => {
    const node = aNode();
    const created = await state.nodes.create(node);
    expect(await state.nodes.get(node.id)).toEqual({ value: node, version: created.version });
    const updated = await state.nodes.update(node.id, (current) => ({ ...current, cordoned: true }));
    expect(updated.version).not.toBe(created.version);
    expect((await state.nodes.list()).map(({ value }) => value.cordoned)).toEqual([true]);
  });

  it('are not made twice, neither by id nor by name', async () => {
    const user = aUser();
    await state.users.create(user);
    await expect(state.users.create({ ...user, username: 'other' })).rejects.toMatchObject({ code: 'already-exists' });
    await expect(state.users.create(aUser({ username: user.username }))).rejects.toMatchObject({
      code: 'already-exists',
      message: `a user named "${user.username}" already exists`,
    });
  });

  it('free their name when they go', async () => {
    const user = aUser({ username: 'jörg/../x' });
    await state.users.create(user);
    expect((await state.users.findByName('jörg/../x'))?.value.id).toBe(user.id);
    await state.users.remove(user.id);
    expect(await state.users.findByName('jörg/../x')).toBeUndefined();
    await state.users.create(aUser({ username: 'jörg/../x' }));
  });

  it('that are missing are reported as such', async () => {
    const { id } = aNode();
    expect(await state.nodes.get(id)).toBeUndefined();
    await expect(state.nodes.require(id)).rejects.toMatchObject({ code: 'not-found' });
    await expect(state.nodes.update(id, (node) => node)).rejects.toMatchObject({ code: 'not-found' });
    await expect(state.nodes.remove(id)).rejects.toMatchObject({ code: 'not-found' });
  });

  it('are not written malformed', async () => {
    await expect(state.nodes.create(aNode({ name: 'Not A Name' }))).rejects.toMatchObject({ code: 'invalid' });
    await expect(state.volumes.create(aVolume({ replicas: 6 }))).rejects.toMatchObject({ code: 'invalid' });
  });

  it('that somebody damaged are reported by key, and do not look removed', async () => {
    const node = aNode();
    await state.nodes.create(node);
    await until('the node is cached', () => state.nodes.cached.get(node.id) !== undefined);
    await raw.put(`${namespace}/nodes/${node.id}`).value('{"id": 7}');
    await expect(state.nodes.get(node.id)).rejects.toMatchObject({
      code: 'internal',
      message: expect.stringContaining(`nodes/${node.id}`),
    });
    await until('trouble is told', () => troubles.length > 0);
    expect(state.nodes.cached.get(node.id)?.value).toEqual(node);
    await raw.put(`${namespace}/nodes/${node.id}`).value('not json');
    await expect(state.nodes.list()).rejects.toMatchObject({ code: 'internal' });
  });

  it('are listed as etcd has them, whether or not the watch has seen it all', async () => {
    const [first, second] = [aNamespace(), aNamespace()];
    const names = async () => (await state.namespaces.list()).map(({ value }) => value.name).sort();
    for (let round = 0; round < 20; round++) {
      // At once after each write, when the watch may be behind.
      await state.namespaces.create(first);
      expect(await names()).toEqual([first.name]);
      await state.namespaces.create(second);
      await state.namespaces.update(first.id, (current) => ({ ...current, labels: { round: `${round}` } }));
      const listed = await state.namespaces.list();
      expect(listed.find(({ value }) => value.id === first.id)?.value.labels).toEqual({ round: `${round}` });
      await state.namespaces.remove(first.id);
      expect(await names()).toEqual([second.name]);
      await state.namespaces.remove(second.id);
      expect(await names()).toEqual([]);
    }
  });

  it('are looked up as etcd has them at once after a write, and as last seen where they are malformed', async () => {
    const [one, other] = [aNamespace(), aNamespace()];
    await state.namespaces.create(other);
    for (let round = 0; round < 20; round++) {
      await state.namespaces.create(one);
      expect((await state.namespaces.lookup()).get(one.id)?.value).toEqual(one);
      const labels = { round: `${round}` };
      await state.namespaces.update(one.id, (current) => ({ ...current, labels }));
      expect((await state.namespaces.lookup()).get(one.id)?.value.labels).toEqual(labels);
      await state.namespaces.remove(one.id);
      expect((await state.namespaces.lookup()).get(one.id)).toBeUndefined();
    }
    await raw.put(`${namespace}/namespaces/${other.id}`).value('{}');
    await until('trouble is told', () => troubles.length > 0);
    await state.namespaces.create(one);
    const found = await state.namespaces.lookup();
    expect([one, other].map(({ id }) => found.get(id)?.value)).toEqual([one, other]);
  });

  it('that are malformed fail a list also when sound ones have been written since', async () => {
    const [damaged, sound] = [aNamespace(), aNamespace()];
    for (const each of [damaged, sound]) await state.namespaces.create(each);
    await raw.put(`${namespace}/namespaces/${damaged.id}`).value('{}');
    await state.namespaces.update(sound.id, (current) => ({ ...current, labels: { a: 'b' } }));
    await until('trouble is told', () => troubles.length > 0);
    await until('the sound one is seen', () => state.namespaces.cached.get(sound.id)?.value.labels.a === 'b');
    await expect(state.namespaces.list()).rejects.toMatchObject({ code: 'internal' });
    await state.namespaces.remove(sound.id);
    await raw.put(`${namespace}/namespaces/${damaged.id}`).value(JSON.stringify(damaged));
    expect((await state.namespaces.list()).map(({ value }) => value)).toEqual([damaged]);
  });

  it('are listed completely when they take more than one page', async () => {
    await Promise.all(Array.from({ length: 1100 }, () => state.namespaces.create(aNamespace())));
    const listed = await state.namespaces.list();
    expect(new Set(listed.map(({ value }) => value.id)).size).toBe(1100);
    const other = await connect();
    expect(other.namespaces.cached.size).toBe(1100);
    other.close();
  });
});

describe('compare and swap', () => {
  it('lets one of 100 writers with the same version win', async () => {
    const node = aNode();
    const { version } = await state.nodes.create(node);
    const results = await Promise.allSettled(
      Array.from({ length: 100 }, (_, i) =>
        state.nodes.update(node.id, (current) => ({ ...current, labels: { winner: String(i) } }), version),
      ),
    );
    const won = results.flatMap((result, i) => (result.status === 'fulfilled' ? [i] : []));
    expect(won).toHaveLength(1);
    expect((await state.nodes.require(node.id)).value.labels).toEqual({ winner: String(won[0]) });
    for (const result of results) {
      if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'stale-write' });
    }
  });

  it('loses no update of 30 writers that do not insist on a version', async () => {
    const node = aNode();
    await state.nodes.create(node);
    const others = await Promise.all([connect(), connect()]);
    await Promise.all(
      Array.from({ length: 30 }, (_, i) =>
        [state, ...others][i % 3]?.nodes.update(node.id, (current) => ({
          ...current,
          labels: { ...current.labels, [`writer-${i}`]: 'x' },
        })),
      ),
    );
    expect(Object.keys((await state.nodes.require(node.id)).value.labels)).toHaveLength(30);
    for (const other of others) other.close();
  });

  it('removes only the version that is meant', async () => {
    const node = aNode();
    const { version } = await state.nodes.create(node);
    await state.nodes.update(node.id, (current) => ({ ...current, cordoned: true }));
    await expect(state.nodes.remove(node.id, version)).rejects.toMatchObject({ code: 'stale-write' });
    expect(await state.nodes.get(node.id)).toBeDefined();
  });
});

describe('volumes and namespaces', () => {
  it('a volume needs its namespace and a free name in it, and comes with a detached attachment', async () => {
    const home = aNamespace();
    await expect(state.createVolume(aVolume({ namespace: home.id }))).rejects.toMatchObject({ code: 'not-found' });
    await state.createNamespace(home);
    const volume = aVolume({ namespace: home.id, name: 'data' });
    await state.createVolume(volume);
    expect((await state.attachments.require(volume.id)).value).toMatchObject({ generation: 0, mode: 'rw' });
    await expect(state.createVolume(aVolume({ namespace: home.id, name: 'data' }))).rejects.toMatchObject({
      code: 'already-exists',
    });
    const other = aNamespace();
    await state.createNamespace(other);
    await state.createVolume(aVolume({ namespace: other.id, name: 'data' }));
  });

  it('a namespace with volumes stays, whoever is faster', async () => {
    const home = aNamespace();
    await state.createNamespace(home);
    const volume = aVolume({ namespace: home.id });
    await state.createVolume(volume);
    await expect(state.deleteNamespace(home.id)).rejects.toMatchObject({ code: 'in-use' });
    await state.deleteVolume(volume.id, []);
    await state.deleteNamespace(home.id);
    for (let round = 0; round < 10; round++) {
      const contested = aNamespace();
      await state.createNamespace(contested);
      const made = aVolume({ namespace: contested.id });
      const [creation, deletion] = await Promise.allSettled([
        state.createVolume(made),
        state.deleteNamespace(contested.id),
      ]);
      expect([creation.status, deletion.status].sort()).toEqual(['fulfilled', 'rejected']);
      expect((await state.namespaces.get(contested.id)) !== undefined).toBe(creation.status === 'fulfilled');
    }
  });

  it('a deleted volume leaves nothing but tombstones', async () => {
    const home = aNamespace();
    await state.createNamespace(home);
    const volume = aVolume({ namespace: home.id });
    await state.createVolume(volume);
    const membership = aMembership(volume.id);
    await state.memberships.create(membership);
    const { deployment, node } = membership.primary;
    await state.deleteVolume(volume.id, [{ deployment, volume: volume.id, node, deletedAt: systemClock.timestamp() }]);
    const keys = Object.keys(await raw.getAll().prefix(`${namespace}/`).strings());
    expect(keys.filter((key) => key.includes(volume.id) || key.includes(volume.name))).toEqual([]);
    expect((await state.tombstones.require(deployment)).value.volume).toBe(volume.id);
  });
});

describe('a volume that etcd has lost', () => {
  const aLostVolume = async () => {
    const home = aNamespace();
    await state.createNamespace(home);
    const volume = aVolume({ namespace: home.id });
    const membership = aMembership(volume.id);
    const { deployment, node } = membership.primary;
    return { volume: { ...volume, placements: [{ deployment, node }] }, membership, deployment, node };
  };
  const restore = (
    { volume, membership }: Awaited<ReturnType<typeof aLostVolume>>,
    abandoned: readonly Tombstone[] = [],
  ) => state.restoreVolume(volume, membership, 8 as Generation, abandoned);

  it('gets all its records at once, and its size counts', async () => {
    const lost = await aLostVolume();
    const { id, createdAt } = lost.volume;
    const given = { deployment: randomUUID() as DeploymentId, volume: id, node: lost.node, deletedAt: createdAt };
    await restore(lost, [given]);
    expect((await state.tombstones.list()).map(({ value }) => value)).toEqual([given]);
    expect((await state.volumes.require(id)).value).toEqual(lost.volume);
    expect((await state.memberships.require(id)).value).toEqual(lost.membership);
    expect((await state.attachments.require(id)).value).toMatchObject({ generation: 8, mode: 'rw' });
    expect((await state.volumes.findByName(lost.volume.name, lost.volume.namespace))?.value.id).toBe(id);
    const another = aVolume({ namespace: lost.volume.namespace });
    const admit = vi.fn();
    await state.createVolume(another, admit);
    expect(admit).toHaveBeenCalledWith(lost.volume.sizeBytes);
  });

  it('gets none if one of them is there, or a copy is about to be erased, or its namespace is gone', async () => {
    const lost = await aLostVolume();
    const { volume, membership, deployment, node } = lost;
    const refused = async (code: string) => {
      await expect(restore(lost)).rejects.toMatchObject({ code });
      expect(await state.attachments.get(volume.id)).toBeUndefined();
    };
    await state.memberships.create(membership);
    await refused('conflict');
    await state.memberships.remove(volume.id);
    await state.tombstones.create({ deployment, volume: volume.id, node, deletedAt: volume.createdAt });
    await refused('conflict');
    await state.tombstones.remove(deployment);
    const namesake = aVolume({ namespace: volume.namespace, name: volume.name });
    await state.createVolume(namesake);
    await refused('already-exists');
    await state.deleteVolume(namesake.id, []);
    await state.deleteNamespace(volume.namespace);
    await refused('not-found');
  });
});

const PUT =
  'const [, hosts, key, value] = process.argv; new (require("etcd3").Etcd3)({ hosts }).put(key).value(value).exec().then(() => process.exit());';

/** Written when this returns, though nothing of this process goes on meanwhile. */
function putByAnother(key: string, value: object): void {
  execFileSync(process.execPath, ['-e', PUT, etcd.endpoint, `${namespace}/${key}`, encodeValue(key, value).toString()]);
}

describe('copies that a volume goes on without', () => {
  it('leave its record as their tombstones come, by what etcd has then', async () => {
    const home = aNamespace();
    await state.createNamespace(home);
    const copies = [1, 2].map(() => ({ deployment: randomUUID() as DeploymentId, node: randomUUID() as NodeId }));
    const volume = aVolume({ namespace: home.id, placements: copies });
    await state.createVolume(volume);
    const { id, createdAt: deletedAt } = volume;
    const [kept, dropped] = copies as [Placement, Placement];
    const tombstone = { ...dropped, volume: id, deletedAt };
    const membership = aMembership(id);
    const seen: (number | undefined)[] = [];
    await state.dropCopies(id, (current, record) => {
      seen.push(record?.epoch);
      if (seen.length === 1) putByAnother(state.memberships.keyOf(id), membership);
      return { volume: { ...current, placements: [kept] }, tombstones: [tombstone] };
    });
    expect(seen).toEqual([undefined, membership.epoch]);
    expect((await state.volumes.require(id)).value.placements).toEqual([kept]);
    expect((await state.tombstones.require(dropped.deployment)).value).toEqual(tombstone);
    const { version } = await state.volumes.require(id);
    await state.dropCopies(id, (current) => ({ volume: { ...current, placements: [] }, tombstones: [] }));
    const refusal = () => {
      throw new DomainError('invalid-state', 'needed');
    };
    await expect(state.dropCopies(id, refusal)).rejects.toMatchObject({ code: 'invalid-state' });
    expect((await state.volumes.require(id)).version).toBe(version);
    await state.deleteVolume(id, []);
    await expect(state.dropCopies(id, refusal)).rejects.toMatchObject({ code: 'not-found' });
  });
});

describe('a volume whose membership is made anew', () => {
  it('gets it with its placements and the tombstones at once, if nobody has changed it', async () => {
    const home = aNamespace();
    await state.createNamespace(home);
    const volume = aVolume({ namespace: home.id });
    await state.createVolume(volume);
    const { id, createdAt: timestamp } = volume;
    const first = aMembership(id);
    const { deployment, node } = first.primary;
    const placements = [{ deployment, node }];
    const given = { deployment: randomUUID() as DeploymentId, volume: id, node, deletedAt: timestamp };
    const recover = (expected: Membership | undefined, epoch: number) =>
      state.recoverVolume({
        expected,
        next: { ...first, epoch: epoch as Epoch },
        placements,
        abandoned: [given],
        timestamp,
      });
    await recover(undefined, 7);
    expect((await state.memberships.require(id)).value.epoch).toBe(7);
    expect((await state.volumes.require(id)).value).toMatchObject({ placements, updatedAt: timestamp });
    expect((await state.tombstones.require(given.deployment)).value).toEqual(given);
    await state.tombstones.remove(given.deployment);
    for (const expected of [undefined, first]) {
      await expect(recover(expected, 9)).rejects.toMatchObject({ code: 'stale-write' });
    }
    expect((await state.memberships.require(id)).value.epoch).toBe(7);
    expect(await state.tombstones.get(given.deployment)).toBeUndefined();
    await recover({ ...first, epoch: 7 as Epoch }, 9);
    expect((await state.memberships.require(id)).value.epoch).toBe(9);
    await state.deleteVolume(id, []);
    await expect(recover(undefined, 11)).rejects.toMatchObject({ code: 'not-found' });
  });
});

describe('a node that starts', () => {
  it('keeps what users said of it and refuses another host name', async () => {
    const node = aNode();
    await state.registerNode(node);
    await state.nodes.update(node.id, (current) => ({ ...current, cordoned: true, labels: { a: 'b' } }));
    const again = await state.registerNode({ ...node, ioEndpoint: '127.0.0.10:5703' });
    expect(again.value).toMatchObject({ cordoned: true, labels: { a: 'b' }, ioEndpoint: '127.0.0.10:5703' });
    await expect(state.registerNode({ ...node, name: 'elsewhere' })).rejects.toMatchObject({
      code: 'invalid-state',
      message: expect.stringMatching(new RegExp(`${node.id}.*${node.name}.*elsewhere`)),
    });
    await expect(state.registerNode(aNode({ name: node.name }))).rejects.toMatchObject({ code: 'already-exists' });
  });
});

describe('memberships', () => {
  it('are swapped only against the whole previous record', async () => {
    const { id } = aVolume();
    const first = aMembership(id);
    await state.memberships.create(first);
    const second = { ...first, epoch: 2 as Epoch };
    expect(await state.membershipStore.swap({ ...first, readOnly: true }, second)).toBe('conflict');
    expect(await state.membershipStore.read(id)).toEqual(first);
    // The order of an object's keys is no part of its content.
    const shuffled = Object.fromEntries(Object.entries(first).reverse()) as unknown as typeof first;
    expect(await state.membershipStore.swap(shuffled, second)).toBe('applied');
    expect(await state.membershipStore.swap(first, second)).toBe('conflict');
    expect(await state.membershipStore.read(id)).toEqual(second);
  });

  it('that are swapped by 50 at a time are applied once', async () => {
    const { id } = aVolume();
    const first = aMembership(id);
    await state.memberships.create(first);
    const outcomes = await Promise.all(
      Array.from({ length: 50 }, (_, i) =>
        state.membershipStore.swap(first, { ...first, epoch: 2 as Epoch, lossVerifier: i }),
      ),
    );
    expect(outcomes.filter((outcome) => outcome === 'applied')).toHaveLength(1);
    expect(outcomes.filter((outcome) => outcome === 'conflict')).toHaveLength(49);
  });

  it('a swap that etcd does not answer has an unknown outcome', async () => {
    const { id } = aVolume();
    const first = aMembership(id);
    await state.memberships.create(first);
    await etcd.freeze();
    try {
      expect(await state.membershipStore.swap(first, { ...first, epoch: 2 as Epoch })).toBe('unknown');
      await expect(state.membershipStore.read(id)).rejects.toMatchObject({ code: 'store-unavailable' });
    } finally {
      etcd.thaw();
    }
    // Whether it was carried out is open; what there is afterwards can be swapped on.
    const now = await state.membershipStore.read(id);
    expect([1, 2]).toContain(now?.epoch);
    if (now !== undefined) expect(await state.membershipStore.swap(now, { ...now, epoch: 3 as Epoch })).toBe('applied');
  });
});

describe('the watch', () => {
  it('tells what is there, then all changes in order', async () => {
    const home = aNamespace();
    await state.createNamespace(home);
    await until('cached', () => state.namespaces.cached.get(home.id) !== undefined);
    const told: string[] = [];
    state.watch({
      namespace: (id, value) => told.push(`namespace ${id === home.id} ${value?.labels.step ?? 'gone'}`),
      synced: () => told.push('synced'),
    });
    expect(told).toEqual(['namespace true gone', 'synced']);
    for (let step = 0; step < 20; step++) {
      await state.namespaces.update(home.id, (current) => ({ ...current, labels: { step: String(step) } }));
    }
    await state.namespaces.remove(home.id);
    await until('all is told', () => told.length === 23);
    expect(told.slice(2)).toEqual([
      ...Array.from({ length: 20 }, (_, step) => `namespace true ${step}`),
      'namespace true gone',
    ]);
  });

  it('a handler that throws stops nothing', async () => {
    const told: string[] = [];
    state.watch({
      node: () => {
        throw new Error('a defect');
      },
    });
    state.watch({ node: (id) => told.push(id) });
    const node = aNode();
    await state.nodes.create(node);
    await until('told', () => told.length === 1);
    expect(troubles).toMatchObject([{ message: 'a defect' }]);
  });

  it('goes on after etcd was away, tells what changed meanwhile, and reads come from memory until then', async () => {
    const [kept, removed] = [aNode(), aNode()];
    const { version } = await state.nodes.create(kept);
    await state.nodes.create(removed);
    await until('cached', () => state.nodes.cached.size === 2);
    const told: [string, boolean][] = [];
    state.watch({ node: (id, value) => told.push([id, value !== undefined]) });
    told.length = 0;
    await etcd.down();
    await until('the loss is noticed', () => !state.reachable);
    expect(await state.nodes.getOrLastSeen(kept.id)).toEqual({ value: kept, version });
    expect(await state.nodes.listOrLastSeen()).toHaveLength(2);
    await expect(state.nodes.get(kept.id)).rejects.toMatchObject({ code: 'store-unavailable' });
    await expect(state.nodes.create(aNode())).rejects.toMatchObject({ code: 'store-unavailable' });
    await expect(state.nodes.remove(kept.id)).rejects.toMatchObject({ code: 'store-unavailable' });
    expect(await state.whenReachable(10)).toBe(false);
    const back = state.whenReachable(20_000);
    await etcd.up();
    expect(await back).toBe(true);
    const added = aNode();
    await new Etcd3({ hosts: etcd.endpoint }).delete().key(`${namespace}/nodes/${removed.id}`);
    await state.nodes.create(added);
    await until('the changes are told', () => told.length >= 2);
    expect(state.reachable).toBe(true);
    expect(told.sort()).toEqual(
      [
        [removed.id, false],
        [added.id, true],
      ].sort(),
    );
  });

  it('survives a compaction of what it has not seen', async () => {
    const node = aNode();
    await state.nodes.create(node);
    await until('cached', () => state.nodes.cached.size === 1);
    await etcd.down();
    await until('the loss is noticed', () => !state.reachable);
    await etcd.up();
    const writer = new Etcd3({ hosts: etcd.endpoint });
    let revision = '0';
    for (let i = 0; i < 5; i++) revision = (await writer.put(`${namespace}/noise`).value(String(i))).header.revision;
    await writer.kv.compact({ revision });
    writer.close();
    await state.nodes.update(node.id, (current) => ({ ...current, cordoned: true }));
    await until('the change is seen', () => state.nodes.cached.get(node.id)?.value.cordoned === true);
  });

  it('takes nothing from another etcd than the one it began with', async () => {
    const node = aNode();
    await state.nodes.create(node);
    await until('cached', () => state.nodes.cached.size === 1);
    const told: unknown[] = [];
    state.watch({ node: (_, value) => told.push(value) });
    await etcd.replace();
    await until('the replacement is noticed', () => troubles.some((error) => String(error).includes('replaced')));
    expect(state.reachable).toBe(false);
    expect(told).toEqual([node]);
    expect((await state.nodes.getOrLastSeen(node.id))?.value).toEqual(node);
    // Each state of the outage is told once.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect(troubles.filter((error) => String(error).includes('replaced'))).toHaveLength(1);
  });

  it('with several endpoints, one that is dead costs one call at the most', async () => {
    const several = await ClusterState.connect({
      endpoints: ['127.0.0.1:1', etcd.endpoint],
      namespace,
      clock: systemClock,
      onTrouble: () => {},
    });
    try {
      const { value } = await several.nodes.create(aNode()).catch(() => several.nodes.create(aNode()));
      let failures = 0;
      for (let i = 0; i < 300; i++) {
        await several.nodes
          .update(value.id, (node) => ({ ...node, labels: { i: String(i) } }))
          .catch(() => {
            failures++;
          });
      }
      expect(failures).toBeLessThanOrEqual(1);
    } finally {
      several.close();
    }
  });

  it('fails to connect in seconds where no etcd is', async () => {
    const nowhere = ClusterState.connect({
      endpoints: ['127.0.0.1:1'],
      namespace,
      clock: systemClock,
      onTrouble: () => {},
    });
    await expect(nowhere).rejects.toMatchObject({ code: 'store-unavailable' });
  });
});

describe('liveness', () => {
  const info = () => ({ node: randomUUID() as NodeId, run: randomUUID(), startedAt: systemClock.timestamp() });

  it('is there while the agent renews it, and gone when it stops', async () => {
    const told: boolean[] = [];
    const alive = info();
    state.watch({ liveness: (id, value) => id === alive.node && told.push(value !== undefined) });
    const before = systemClock.now();
    const registration = await state.registerLiveness(alive, 2);
    expect(registration.validUntil).toBeGreaterThanOrEqual(before + 1500);
    await new Promise((resolve) => setTimeout(resolve, 4500));
    expect(registration.validUntil).toBeGreaterThan(systemClock.now());
    expect(told).toEqual([true]);
    await registration.stop();
    await until('it is gone', () => told.length === 2);
    expect(told).toEqual([true, false]);
  });

  it('comes back after etcd lost the lease, and its validity ends before etcd could end it', async () => {
    const alive = info();
    const registration = await state.registerLiveness(alive, 2);
    try {
      const version = () => state.liveness.cached.get(alive.node)?.version;
      await until('it is there', () => version() !== undefined);
      const first = version();
      await etcd.freeze();
      await new Promise((resolve) => setTimeout(resolve, 2100));
      expect(registration.validUntil).toBeLessThan(systemClock.now());
      etcd.thaw();
      const leases = await raw.leaseClient.leaseLeases();
      await Promise.allSettled(leases.leases.map(({ ID }) => raw.leaseClient.leaseRevoke({ ID })));
      // It may be away for less time than passes between two looks.
      await until('it was written anew', () => version() !== undefined && version() !== first);
      expect(registration.validUntil).toBeGreaterThan(systemClock.now());
    } finally {
      etcd.thaw();
      await registration.stop();
    }
  });
});
