import { describe, expect, it } from 'vitest';
import type { NodeId, VolumeId } from '../../../core/types.js';
import type { TestEtcd } from '../../setup/etcd.js';
import { type Fixture, startFixture } from './fixture.js';
import { useApi } from './use-api.js';

let api: Fixture;
let etcd: TestEtcd;

useApi('test', (given, server) => {
  api = given;
  etcd = server;
});

const pod = (...claims: string[]) => ({
  metadata: { name: 'pod', namespace: 'shop' },
  spec: { volumes: claims.map((claimName) => ({ name: claimName, persistentVolumeClaim: { claimName } })) },
});
const kubernetesNode = (name: string, annotations?: Record<string, string>) => ({
  metadata: { name, ...(annotations && { annotations }) },
  status: { images: [] },
});
const NODES = ['node-1', 'node-2', 'node-3', 'other'].map((name) => kubernetesNode(name));
const list = (items: object[] = NODES) => ({ metadata: { resourceVersion: '7' }, items });

/** On node-1 the master, on node-2 the replica. */
async function makeVolume(claim = 'data') {
  const made = await api.request('POST', `/namespaces/${api.namespace}/volumes`, {
    name: claim,
    sizeBytes: 2 ** 30,
    fsType: 'ext4',
    labels: {
      'storageos.com/replicas': '1',
      'csi.storage.k8s.io/pvc/name': claim,
      'csi.storage.k8s.io/pvc/namespace': 'shop',
    },
  });
  expect(made.status).toBe(201);
  await expect.poll(() => api.state.memberships.cached.get(made.body.id)).toBeDefined();
  await expect.poll(() => api.state.volumes.cached.get(made.body.id)?.value.phase).toBe('ready');
  return made.body.id as VolumeId;
}

/** Without login. */
const ask = (verb: string, body: object) => api.request('POST', `/k8s/scheduler/${verb}`, body, {});
const left = async (body: object) =>
  (await ask('filter', body)).body.Nodes.items.map((node: { metadata: { name: string } }) => node.metadata.name);
const scores = async (body: object) =>
  Object.fromEntries(
    (await ask('prioritize', body)).body.map(({ Host, Score }: { Host: string; Score: number }) => [Host, Score]),
  );

describe('filter', () => {
  it('leaves nodes on which the pod can use its volumes, whole, and says why others are out', async () => {
    await makeVolume();
    api.offline.add(api.nodes[1]!);
    const { status, body } = await ask('filter', { Pod: pod('data'), Nodes: list() });
    expect(status).toBe(200);
    expect(body.Nodes).toEqual(list([NODES[0]!, NODES[2]!]));
    expect(Object.keys(body.FailedNodes)).toEqual(['node-2', 'other']);
    expect(body.FailedNodes['node-2']).toContain('offline');
    expect(body.Error).toBe('');
  });

  it.each<[string, object]>([
    ['a pod without volumes', { metadata: { name: 'pod' } }],
    ['a claim that is not known yet', pod('unknown')],
    ['a claim of another namespace', { ...pod('data'), metadata: { name: 'pod', namespace: 'elsewhere' } }],
    ['another kind of volume', { metadata: {}, spec: { volumes: [{ name: 'x', emptyDir: {} }] } }],
  ])('%s may run anywhere', async (_, asked) => {
    await makeVolume();
    expect(await left({ Pod: asked, Nodes: list() })).toEqual(['node-1', 'node-2', 'node-3', 'other']);
  });

  it('knows nodes by the id that the driver gave them, too', async () => {
    await makeVolume();
    const named = kubernetesNode('renamed', {
      'csi.volume.kubernetes.io/nodeid': JSON.stringify({ 'csi.storageos.com': api.nodes[0] }),
    });
    const broken = kubernetesNode('broken', { 'csi.volume.kubernetes.io/nodeid': '{' });
    expect(await left({ Pod: pod('data'), Nodes: list([named, broken]) })).toEqual(['renamed']);
    expect(await scores({ Pod: pod('data'), Nodes: list([named, broken]) })).toEqual({ renamed: 15, broken: 5 });
  });

  it('takes names of nodes, and fields in lower case', async () => {
    await makeVolume();
    const { body } = await ask('filter', { pod: pod('data'), nodenames: ['node-3', 'other'] });
    expect(body).toMatchObject({ Nodes: null, NodeNames: ['node-3'] });
  });
});

describe('prioritize', () => {
  it('prefers the master, then a replica', async () => {
    await makeVolume();
    const expected = { 'node-1': 15, 'node-2': 10, 'node-3': 5, other: 5 };
    expect(await scores({ Pod: pod('data'), Nodes: list() })).toEqual(expected);
  });

  it('shuns a replica that is not in sync, and is indifferent when the master is away', async () => {
    const id = await makeVolume();
    const { value } = await api.state.memberships.update(id, (membership) => ({
      ...membership,
      inSync: [membership.primary.deployment],
    }));
    await expect.poll(() => api.state.memberships.cached.get(id)?.value).toEqual(value);
    expect(await scores({ Pod: pod('data'), Nodes: list() })).toMatchObject({ 'node-1': 15, 'node-2': 1, 'node-3': 5 });
    api.offline.add(value.primary.node as NodeId);
    expect(await scores({ Pod: pod('data'), Nodes: list() })).toMatchObject({ 'node-1': 1, 'node-2': 1, 'node-3': 1 });
  });

  it('weighs several volumes, generic ephemeral ones among them', async () => {
    await makeVolume();
    await makeVolume('pod-scratch');
    const asked = pod('data');
    const volumes = [...asked.spec.volumes, { name: 'scratch', ephemeral: { volumeClaimTemplate: {} } }];
    expect(await scores({ Pod: { ...asked, spec: { volumes } }, Nodes: list() })).toMatchObject({ 'node-1': 15 });
    expect(await scores({ Pod: pod(), Nodes: list() })).toMatchObject({ 'node-1': 0, 'node-2': 0 });
  });
});

describe('hostile and wrong requests', () => {
  it.each<[string, unknown, number]>([
    ['no JSON', '{', 400],
    ['another type', { Pod: 7 }, 400],
    ['too many nodes', { NodeNames: Array.from({ length: 10_001 }, () => 'n') }, 400],
    ['nothing', {}, 200],
  ])('%s', async (_, body, status) => {
    expect((await ask('filter', body as object)).status).toBe(status);
  });

  it('whole nodes of a large cluster are taken', async () => {
    const image = { names: ['x'.repeat(200)] };
    const items = Array.from({ length: 1000 }, (_, i) => ({
      ...kubernetesNode(`n${i}`),
      status: { images: Array(10).fill(image) },
    }));
    expect((await ask('prioritize', { Pod: pod('data'), Nodes: list(items) })).body).toHaveLength(1000);
  });

  it('where it is not enabled there is nothing', async () => {
    const closed = await startFixture(etcd, { schedulerExtender: false });
    try {
      expect((await closed.request('POST', '/k8s/scheduler/filter', {}, {})).status).toBe(404);
    } finally {
      closed.close();
    }
  });
});
