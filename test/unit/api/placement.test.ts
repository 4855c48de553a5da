import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { DeploymentId, NodeId, VolumeId } from '../../../core/types.js';
import type { Fixture } from './fixture.js';
import { useApi } from './use-api.js';

const GIB = 2 ** 30;
const ANY = '?ignore-version=true';

let api: Fixture;
let volumes: string;

useApi('test', (given) => {
  api = given;
  volumes = `/namespaces/${api.namespace}/volumes`;
});

async function makeVolume(patch: object = {}) {
  const made = await api.request('POST', volumes, { name: 'data', sizeBytes: GIB, fsType: 'ext4', ...patch });
  expect(made).toMatchObject({ status: 201 });
  return made.body;
}

const withReplicas = (count: number) => makeVolume({ labels: { 'storageos.com/replicas': String(count) } });
const record = async (id: string) => (await api.state.volumes.require(id as VolumeId)).value;

describe('placement strategy', () => {
  it.each([
    [{ strategy: 'random' }, { kind: 'random' }],
    [{ strategy: 'topology-aware' }, { kind: 'topology-aware', topologyKey: 'topology.kubernetes.io/zone' }],
    [
      { strategy: 'topology-aware', options: { topologyKey: 'rack' } },
      { kind: 'topology-aware', topologyKey: 'rack' },
    ],
    [{ strategy: 'recommended', options: null }, { kind: 'recommended' }],
    [{}, { kind: 'recommended' }],
  ])('%j', async (placementStrategy, kept) => {
    const early = await makeVolume({ placementStrategy });
    expect((await record(early.id)).placementStrategy).toEqual(kept);
    const late = await makeVolume({ name: 'late' });
    const body = { placementStrategy, version: late.version };
    const answer = await api.request('PUT', `${volumes}/${late.id}/placement-strategy`, body);
    expect(answer).toMatchObject({ status: 200, body: { msg: expect.any(String) } });
    expect((await record(late.id)).placementStrategy).toEqual(kept);
    expect((await api.request('PUT', `${volumes}/${late.id}/placement-strategy`, body)).status).toBe(412);
  });

  it('comes from the labels, too', async () => {
    const labels = { 'storageos.com/topology-aware': 'true', 'storageos.com/topology-key': 'rack' };
    const volume = await makeVolume({ labels });
    expect((await record(volume.id)).placementStrategy).toEqual({ kind: 'topology-aware', topologyKey: 'rack' });
  });

  it.each([['fixed-topology'], ['best']])('%s is refused', async (strategy) => {
    const volume = await makeVolume();
    const body = { placementStrategy: { strategy } };
    expect((await api.request('PUT', `${volumes}/${volume.id}/placement-strategy${ANY}`, body)).status).toBe(400);
  });
});

describe('eviction', () => {
  it('candidates are copies of the volume, and can be taken back', async () => {
    const volume = await withReplicas(2);
    const path = `${volumes}/${volume.id}/preferred-eviction-candidates${ANY}`;
    const [first] = volume.replicas as { id: DeploymentId }[];
    expect((await api.request('PUT', path, { deploymentIDs: [first?.id, first?.id] })).status).toBe(200);
    expect((await record(volume.id)).evictionCandidates).toEqual([first?.id]);
    expect((await api.request('PUT', path, { deploymentIDs: [randomUUID()] })).status).toBe(404);
    expect((await api.request('PUT', path, { deploymentIDs: ['x'] })).status).toBe(400);
    expect((await api.request('PUT', path, {})).status).toBe(200);
    expect(await record(volume.id)).not.toHaveProperty('evictionCandidates');
  });

  it('of a replica is told to the workflow, once; a master stays', async () => {
    const volume = await withReplicas(1);
    const evict = (deployment: string) => api.request('DELETE', `${volumes}/${volume.id}/debug/evict/${deployment}`);
    const [replica] = volume.replicas as { id: DeploymentId }[];
    for (let attempt = 0; attempt < 2; attempt++) expect((await evict(replica!.id)).status).toBe(202);
    expect((await record(volume.id)).evicting).toEqual([replica?.id]);
    expect(api.controller.calls).toContain('changed');
    expect((await evict(volume.master.id)).status).toBe(400);
    expect((await evict(randomUUID())).status).toBe(404);
  });
});

describe('a copy on a node of choice', () => {
  it('raises the number of replicas', async () => {
    const volume = await makeVolume();
    const node = api.nodes[2]!;
    const body = { nodeID: node, version: volume.version };
    expect((await api.request('PUT', `${volumes}/${volume.id}/add-deployment-on-node`, body)).status).toBe(200);
    expect(await record(volume.id)).toMatchObject({
      replicas: 1,
      nextCopyOn: node,
      labels: { 'storageos.com/replicas': '1' },
    });
    expect(api.controller.calls).toContain('changed');
  });

  it.each<[string, (volume: { master: { nodeID: NodeId } }) => Promise<NodeId>, number, RegExp]>([
    ['that has one', async (volume) => volume.master.nodeID, 409, /holds a copy/],
    ['that is offline', async () => [...api.offline.add(api.nodes[2]!)][0]!, 409, /offline/],
    ['that is unknown', async () => randomUUID() as NodeId, 404, /not found/],
    [
      'that is cordoned',
      async () => (await api.state.nodes.update(api.nodes[2]!, (node) => ({ ...node, cordoned: true }))).value.id,
      409,
      /cordoned/,
    ],
  ])('%s is refused', async (_, choose, status, why) => {
    const volume = await makeVolume();
    const nodeID = await choose(volume);
    const path = `${volumes}/${volume.id}/add-deployment-on-node${ANY}`;
    const answer = await api.request('PUT', path, { nodeID });
    expect(answer).toMatchObject({ status, body: { error: expect.stringMatching(why) } });
    expect(await record(volume.id)).toMatchObject({ replicas: 0 });
  });
});

describe('promotion', () => {
  const attempt = (volume: string, deployment: string) =>
    api.request('PUT', `${volumes}/${volume}/debug/attempt-replica-promotion/${deployment}`);

  it('needs a replica in sync and a master that does not serve', async () => {
    const volume = await withReplicas(2);
    const [first, second] = volume.replicas as { id: DeploymentId }[];
    expect((await attempt(volume.id, volume.master.id)).status).toBe(422);
    expect((await attempt(volume.id, first!.id)).status).toBe(422);
    await api.state.memberships.update(volume.id, (membership) => ({
      ...membership,
      inSync: membership.inSync.filter((id) => id !== second?.id),
    }));
    expect((await attempt(volume.id, second!.id)).status).toBe(412);
    expect((await attempt(volume.id, randomUUID())).status).toBe(404);
    expect(api.controller.calls).not.toContain('changed');
    api.offline.add(volume.master.nodeID);
    expect((await attempt(volume.id, first!.id)).status).toBe(202);
    expect(api.controller.calls).toContain('changed');
  });
});

describe('what this version does not have is refused and changes nothing', () => {
  it.each<[string, string, object, number]>([
    ['PUT', 'size', { sizeBytes: 2 * GIB }, 422],
    ['POST', 'nfs/attach', {}, 422],
    ['PUT', 'nfs/mount-endpoint', { mountEndpoint: '10.0.0.1:2049' }, 422],
    ['PUT', 'nfs/export-config', { exports: [{ exportID: 1, path: '/', acls: null }] }, 422],
    ['PUT', 'nfs/export-config', { exports: [{ exportID: -1 }] }, 400],
  ])('%s %s %j', async (method, sub, body, status) => {
    const volume = await makeVolume();
    const answer = await api.request(method, `${volumes}/${volume.id}/${sub}${ANY}`, body);
    expect(answer.status).toBe(status);
    expect((await api.request('GET', `${volumes}/${volume.id}`)).body).toEqual(volume);
  });

  it('an export’s id has 64 bits', async () => {
    const volume = await makeVolume();
    const path = `${volumes}/${volume.id}/nfs/export-config${ANY}`;
    const status = async (exportID: string) =>
      (await api.request('PUT', path, `{"exports":[{"exportID":${exportID}}]}`)).status;
    expect(await status(`${2n ** 64n - 1n}`)).toBe(422);
    expect(await status(`${2n ** 64n}`)).toBe(400);
  });

  it('a size that the volume has is no change, a smaller one no request', async () => {
    const volume = await makeVolume({ sizeBytes: 2 * GIB });
    const resize = (sizeBytes: number) =>
      api.request('PUT', `${volumes}/${volume.id}/size`, { sizeBytes, version: volume.version });
    expect(await resize(2 * GIB)).toMatchObject({ status: 200, body: volume });
    expect((await resize(GIB)).status).toBe(400);
  });

  it('pools', async () => {
    expect(await api.request('GET', '/pools')).toMatchObject({ status: 200, body: [] });
    expect((await api.request('POST', '/pools', { name: 'p', nodeToDriveMapping: {} })).status).toBe(422);
    const path = `/pools/${randomUUID()}`;
    expect((await api.request('GET', path)).status).toBe(404);
    expect((await api.request('PUT', `${path}${ANY}`, { nodeToDriveMapping: {} })).status).toBe(404);
    expect((await api.request('DELETE', `${path}?version=Mg`)).status).toBe(404);
  });
});
