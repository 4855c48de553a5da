import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { NodeId, VolumeId } from '../../../core/types.js';
import { TestEtcd } from '../../setup/etcd.js';
import { type Fixture, startFixture } from './fixture.js';

let etcd: TestEtcd;
let api: Fixture;
const volumes: Record<string, VolumeId> = {};

beforeAll(async () => {
  etcd = await TestEtcd.start();
  api = await startFixture(etcd);
  const apps = (await api.request('POST', '/namespaces', { name: 'apps' })).body;
  for (const [name, namespace] of [
    ['data', api.namespace],
    ['web', apps.id],
  ]) {
    const { body } = await api.request('POST', `/namespaces/${namespace}/volumes`, {
      name,
      namespaceID: namespace,
      sizeBytes: 2 ** 30,
      fsType: 'ext4',
    });
    volumes[name] = body.id;
  }
  const node = api.nodes[0] as NodeId;
  api.operations.push(
    {
      id: `volume/${volumes.web}/sync/x`,
      kind: 'DeltaSync',
      volume: volumes.web as VolumeId,
      node,
      startedAt: '2026-01-01T00:00:02.000Z',
      summary: 'Bring copy x up to date',
      progress: {
        percent: 12.5,
        blocksDone: 1,
        blocksTotal: 8,
        bytesCopied: 4096,
        bytesPerSecond: 512,
        secondsLeft: 56,
      },
    },
    {
      id: `volume/${volumes.data}`,
      kind: 'Volume',
      volume: volumes.data as VolumeId,
      startedAt: '2026-01-01T00:00:01.000Z',
      summary: 'one copy is away',
      waitsFor: 'node-2',
    },
    {
      id: `fence-node/${node}`,
      kind: 'FenceNode',
      node,
      startedAt: '2026-01-01T00:00:03.000Z',
      summary: `Node ${node}: it is dead, says ${volumes.web}`,
    },
  );
});

afterAll(async () => {
  api?.close();
  await etcd?.destroy();
});

describe('GET /operations', () => {
  it('tells what runs, oldest first, with names', async () => {
    const { status, body } = await api.request('GET', '/operations');
    expect(status).toBe(200);
    expect(body).toMatchObject([
      { kind: 'Volume', volumeName: 'data', namespaceID: api.namespace, nodeID: '', waitsFor: 'node-2' },
      {
        kind: 'DeltaSync',
        volumeName: 'web',
        waitsFor: '',
        progress: { percent: 12.5, blocksTotal: 8, bytesPerSecond: 512, secondsLeft: 56 },
      },
      {
        kind: 'FenceNode',
        volumeID: '',
        volumeName: '',
        namespaceID: '',
        nodeID: api.nodes[0],
        summary: `Node node-1: it is dead, says ${volumes.web}`,
      },
    ]);
    expect(body[0]).not.toHaveProperty('progress');
  });

  it('shows to everybody what they may see', async () => {
    await api.request('POST', '/users', { username: 'eva', password: 'long enough' });
    const authorization = `Bearer ${await api.login('eva', 'long enough')}`;
    const { body } = await api.request('GET', '/operations', undefined, { authorization });
    expect(body.map(({ kind }: { kind: string }) => kind)).toEqual(['Volume', 'FenceNode']);
  });
});
