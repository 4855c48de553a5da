import { randomUUID } from 'node:crypto';
import { Etcd3 } from 'etcd3';
import { expect, it } from 'vitest';
import type { DeploymentId } from '../../../core/types.js';
import { systemClock } from '../../../node-agent/clock.js';
import { Licensing } from '../../../node-agent/licence/index.js';
import type { ClusterState } from '../../../node-agent/state/cluster-state.js';
import { nodeVersion } from '../../../node-agent/state/node-records.js';
import type { TestEtcd } from '../../setup/etcd.js';
import { aCluster, aNode } from '../../setup/records.js';
import { freshState, outcomeOf } from './fresh-state.js';

let etcd: TestEtcd;
let namespace: string;
let state: ClusterState;

freshState((fresh) => {
  ({ etcd, namespace, state } = fresh);
});
const room = (freeBytes: number) => ({ totalBytes: 1000, freeBytes, availableBytes: freeBytes, reservedBytes: 0 });
const report = (freeBytes: number) => ({ capacity: room(freeBytes), unusableCopies: 0, closed: [] });

it('a report of its room, and a start as it was, make no new version of a node', async () => {
  const node = aNode();
  const { value } = await state.registerNode(node);
  const version = nodeVersion(value);
  await state.nodeRecords.report(node.id, report(7));
  await state.registerNode({ ...node, capacity: room(8), updatedAt: '2027-01-01T00:00:00Z' });
  const now = (await state.nodes.require(node.id)).value;
  expect(now).toEqual({ ...value, capacity: room(8) });
  const moved = await state.registerNode({ ...node, ioEndpoint: '127.0.0.7:1', updatedAt: '2027-01-01T00:00:00Z' });
  expect(nodeVersion(moved.value)).not.toBe(version);
  expect(moved.value).toMatchObject({ ioEndpoint: '127.0.0.7:1', updatedAt: '2027-01-01T00:00:00Z', labels: {} });
});

it('says how many copies on its disks cannot be used, as long as there are any and it is in the cluster', async () => {
  const node = aNode();
  await state.registerNode(node);
  const said = async () => (await state.disks.get(node.id))?.value.unusableCopies;
  expect(await said()).toBeUndefined();
  for (const unusableCopies of [2, 2, 3, 0, 1]) {
    await state.nodeRecords.report(node.id, { ...report(7), unusableCopies });
    expect(await said()).toBe(unusableCopies === 0 ? undefined : unusableCopies);
  }
  await state.nodeRecords.remove(node.id);
  expect(await said()).toBeUndefined();
});

it('says which copies it should have open and has not', async () => {
  const node = aNode();
  await state.registerNode(node);
  const [one, other] = [randomUUID(), randomUUID()] as string[] as DeploymentId[];
  for (const closed of [[one!], [other!], [one!, other!], []]) {
    await state.nodeRecords.report(node.id, { ...report(7), closed });
    expect((await state.closed.get(node.id))?.value.copies ?? []).toEqual(closed);
  }
  await state.nodeRecords.report(node.id, { ...report(7), closed: [one!] });
  await state.nodeRecords.remove(node.id);
  expect(await state.closed.get(node.id)).toBeUndefined();
});

it('is added only if the licence lets it be, and comes back in any case', async () => {
  await state.ensureCluster(aCluster({ createdAt: '2026-01-01T00:00:00Z' }));
  const at = (now: string) => new Licensing({ state, clock: { ...systemClock, timestamp: () => now }, publicKeys: [] });
  const [early, tooLate] = [at('2026-01-01T23:59:59Z'), at('2026-01-02T00:00:00Z')];
  const [known, late] = [aNode(), aNode()];
  await state.registerNode(known, () => early.admitNode());
  expect(await outcomeOf(state.registerNode(late, () => tooLate.admitNode()))).toBe('licence');
  expect(await state.nodes.get(late.id)).toBeUndefined();
  expect(await outcomeOf(state.registerNode(known, () => tooLate.admitNode()))).toBe('done');
});

it('one of 100 writers wins while the node reports', async () => {
  const { value } = await state.registerNode(aNode());
  const version = nodeVersion(value);
  const [outcomes] = await Promise.all([
    Promise.all(
      Array.from({ length: 100 }, (_, i) =>
        outcomeOf(state.nodeRecords.update(value.id, (node) => ({ ...node, labels: { writer: `${i}` } }), version)),
      ),
    ),
    Promise.all(Array.from({ length: 20 }, (_, i) => state.nodeRecords.report(value.id, report(i)))),
  ]);
  expect(outcomes.filter((outcome) => outcome === 'done')).toHaveLength(1);
  expect(outcomes.filter((outcome) => outcome === 'stale-write')).toHaveLength(99);
  const now = (await state.nodes.require(value.id)).value;
  expect(now.labels).toEqual({ writer: `${outcomes.indexOf('done')}` });
  expect(now.revision).toBe(value.revision + 1);
});

it('is deleted with the version that it has, although it reports', async () => {
  const { value } = await state.registerNode(aNode());
  await state.nodeRecords.report(value.id, report(1));
  expect(await outcomeOf(state.nodeRecords.remove(value.id, 'Mzg'))).toBe('stale-write');
  expect(await outcomeOf(state.nodeRecords.remove(value.id, nodeVersion(value)))).toBe('done');
  expect(await outcomeOf(state.nodeRecords.remove(value.id))).toBe('not-found');
});

it('a record from before there were revisions is read', async () => {
  const raw = new Etcd3({ hosts: etcd.endpoint });
  const { revision: _, ...old } = aNode();
  await raw.put(`${namespace}/nodes/${old.id}`).value(JSON.stringify(old));
  raw.close();
  expect((await state.nodes.require(old.id)).value).toEqual({ ...old, revision: 1 });
});
