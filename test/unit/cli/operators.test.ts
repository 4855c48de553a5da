/** What operators do with copies, sizes, licences and bundles, against the real API. */

import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it, vi } from 'vitest';
import { DomainError } from '../../../core/errors.js';
import type { DeploymentId, Epoch, NodeId, VolumeId } from '../../../core/types.js';
import { type CliHarness, freshHarness } from './harness.js';

const UNDERSTOOD = '--i-understand-that-this-value-will-be-overwritten-by-kubernetes';

let harness: CliHarness;
let cli: CliHarness['cli'];
let json: CliHarness['json'];

freshHarness((fresh) => {
  harness = fresh;
  ({ cli, json } = fresh);
});

/** What the volume's workflow does when it is told to look: copies come and go at once. */
function actAsWorkflow(): void {
  const { state, controller } = harness.api;
  controller.changed = async (id?: VolumeId) => {
    if (id === undefined) return;
    const { value } = await state.volumes.require(id);
    const { nextCopyOn, evictionCandidates = [], evicting = [], ...rest } = value;
    const surplus = value.placements.length + (nextCopyOn === undefined ? 0 : 1) > value.replicas + 1;
    const leaving = [...evicting, ...(surplus ? evictionCandidates : [])];
    const added = nextCopyOn === undefined ? [] : [{ deployment: randomUUID() as DeploymentId, node: nextCopyOn }];
    const placements = [...value.placements.filter(({ deployment }) => !leaving.includes(deployment)), ...added];
    await state.memberships.update(id, (record) => ({
      ...record,
      inSync: placements.map(({ deployment }) => deployment),
    }));
    await state.volumes.update(id, () => ({ ...rest, placements }));
  };
}

describe('copies', () => {
  const nodesOf = async (name: string) => {
    const { master, replicas } = await json('get', 'volume', name);
    return [master, ...replicas].map(({ nodeName }: { nodeName: string }) => nodeName);
  };

  it('a replica moves to another node; the master stays', async () => {
    await cli('create', 'volume', 'data', '-r', '1');
    actAsWorkflow();
    expect(await nodesOf('data')).toEqual(['node-1', 'node-2']);
    const moved = await cli('update', 'volume', 'move', 'data', 'node-2', 'node-3');
    expect([moved.code, moved.out]).toEqual([0, expect.stringMatching(/moved from node node-2 to node node-3/)]);
    expect(moved.err).toContain('copy on node-2: removed');
    expect(await nodesOf('data')).toEqual(['node-1', 'node-3']);
    expect((await json('get', 'volume', 'data')).labels['storageos.com/replicas']).toBe('1');
    expect(await cli('update', 'volume', 'move', 'data', 'node-1', 'node-2')).toMatchObject({
      code: 11,
      err: expect.stringContaining('master'),
    });
    expect((await cli('update', 'volume', 'move', 'data', 'node-2', 'node-1')).code).toBe(8);
  });

  it('replicas are evicted, the master is not', async () => {
    await cli('create', 'volume', 'data', '-r', '1');
    const { id, replicas } = await json('get', 'volume', 'data');
    expect((await cli('evict', 'data', 'node-2')).code).toBe(0);
    expect((await harness.api.state.volumes.require(id)).value.evicting).toEqual([replicas[0].id]);
    expect((await cli('evict', 'data', 'node-1')).code).toBe(10);
    expect((await cli('evict', 'data', 'node-3')).code).toBe(8);
  });

  it('a master that serves is not replaced, one that is away is', async () => {
    await cli('create', 'volume', 'data', '-r', '1');
    expect((await cli('promote', 'data', 'node-2')).code).toBe(11);
    harness.api.offline.add(harness.api.nodes[0] as NodeId);
    expect((await cli('promote', 'data', 'node-2')).code).toBe(0);
    expect(harness.api.controller.calls.at(-1)).toBe('changed');
  });

  it('candidates for eviction and strategies of placement are noted', async () => {
    await cli('create', 'volume', 'data', '-r', '1');
    const { id, replicas } = await json('get', 'volume', 'data');
    const record = async () => (await harness.api.state.volumes.require(id)).value;
    expect((await cli('update', 'volume', 'eviction-candidates', 'data', 'node-2')).code).toBe(0);
    expect((await record()).evictionCandidates).toEqual([replicas[0].id]);
    expect((await cli('update', 'volume', 'eviction-candidates', 'data')).code).toBe(0);
    expect((await record()).evictionCandidates).toBeUndefined();
    const strategy = ['update', 'volume', 'placement-strategy', 'data'];
    expect((await cli(...strategy, 'topology-aware', '--topology-key', 'rack')).code).toBe(0);
    expect((await record()).placementStrategy).toEqual({ kind: 'topology-aware', topologyKey: 'rack' });
    expect((await cli(...strategy, 'nonsense')).code).toBe(10);
  });
});

describe('recover', () => {
  const [id, other] = [randomUUID() as VolumeId, randomUUID() as VolumeId];

  /** Etcd has forgotten these; nobody remembers the second one. */
  function loseTwo(): void {
    const { controller, nodes } = harness.api;
    const copies = nodes.slice(0, 2).map((node) => ({ deployment: randomUUID() as DeploymentId, node }));
    const lost = { sizeBytes: 2 ** 30, epoch: 7 as Epoch, copies };
    controller.lost = {
      volumes: [
        { ...lost, id, name: 'orders', namespaceName: 'default' },
        { ...lost, id: other, name: '', namespaceName: '' },
      ],
      silent: [nodes[2] as NodeId],
    };
  }

  it('shows volumes that etcd has lost beside those that need it, and who did not answer', async () => {
    await cli('create', 'volume', 'data');
    harness.api.controller.recovery = { reasons: ['epoch-behind'], risks: [], recovered: false };
    loseTwo();
    const { code, out, err } = await cli('recover');
    expect(code).toBe(0);
    expect(err).toMatch(/do not answer.*: node-3\n/);
    const rows = out.trim().split('\n').slice(1);
    expect(rows).toEqual([
      expect.stringMatching(/^default +data +etcd is older/),
      expect.stringMatching(/^default +orders +etcd has no record of it +2 \(node-1, node-2\) +nothing is lost/),
      expect.stringMatching(
        new RegExp(`^ *${other} +etcd has no record of it +2 \\(node-1, node-2\\) +no node remembers`),
      ),
    ]);
    expect(harness.api.controller.calls.filter((call) => call.startsWith('recover'))).toEqual([]);
  });

  it('shows what is found although another volume cannot be looked at, and fails', async () => {
    loseTwo();
    const { controller } = harness.api;
    const survey = controller.lostVolume.bind(controller);
    vi.spyOn(controller, 'lostVolume').mockImplementation((volume) => {
      if (volume === other) throw new DomainError('node-unavailable', 'its node has just gone away');
      return survey(volume);
    });
    const { code, out, err } = await cli('recover');
    expect(code).toBe(1);
    expect(out).toMatch(/^default +orders .* nothing is lost/m);
    expect(out).not.toContain(other);
    expect(err).toMatch(new RegExp(`^${other}: .*just gone away`, 'm'));
    expect(err).toContain('1 volumes could not be looked at');
    controller.lost = { volumes: controller.lost.volumes.slice(1), silent: [] };
    expect(await cli('recover')).toMatchObject({ code: 1, out: '' });
  });

  it('finds a volume by its id that the list does not have', async () => {
    loseTwo();
    const { controller } = harness.api;
    const { lost } = controller;
    const survey = controller.lostVolume.bind(controller);
    controller.lost = { volumes: [], silent: [] };
    vi.spyOn(controller, 'lostVolume').mockImplementation((volume) => {
      controller.lost = lost;
      return survey(volume);
    });
    expect((await cli('recover', id, '--dry-run')).out).toMatch(/default +orders/);
  });

  it.each([
    [['orders'], `recover lost false {}`],
    [[id], `recover lost false {}`],
    [['orders', '--name', 'orders-2'], /^recover lost false {"name":"orders-2","namespace":"[-0-9a-f]+"}$/],
    [
      [other, '--name', 'x', '--fs-type', 'xfs', '--accept-data-loss'],
      /^recover lost true {"name":"x",.*"fsType":"xfs"}$/,
    ],
  ])('storageos recover %j brings it back', async (args, call) => {
    loseTwo();
    const { code, out, err } = await cli('recover', ...args);
    expect([code, err, out]).toEqual([0, '', expect.stringContaining('recovered')]);
    expect(harness.api.controller.calls.at(-1)).toMatch(call);
  });

  it.each([
    [['nothing'], 8],
    [['orders', 'data', '--name', 'x'], 10],
    [['--name', 'x'], 10],
    [['orders', '--name', 'NOT A NAME'], 10],
  ])('storageos recover %j ends with %i', async (args, code) => {
    loseTwo();
    expect((await cli('recover', ...args)).code).toBe(code);
  });

  it('takes the volume that etcd knows for the one that is meant by its name', async () => {
    await cli('create', 'volume', 'orders');
    harness.api.controller.recovery = { reasons: ['no-record'], risks: [], recovered: false };
    loseTwo();
    expect((await cli('recover', 'orders')).code).toBe(0);
    expect(harness.api.controller.calls.at(-1)).toBe('recover');
  });
});

describe('what this version refuses', () => {
  it.each([
    [['update', 'volume', 'size', 'data', '10GiB'], 11],
    [['update', 'volume', 'size', 'data', '1GiB'], 10],
    [['update', 'volume', 'size', 'data', '5GiB'], 0],
    [['nfs', 'attach', 'data'], 11],
    [['nfs', 'endpoint', 'data', '10.0.0.1:2049'], 11],
    [['nfs', 'exports', 'data', '1,/,/,cidr;10.0.0.0/8;0;0;all;rw'], 11],
    [['nfs', 'exports', 'data', '1,/'], 10],
    [['nfs', 'exports', 'data', '1,/,/,cidr;10.0.0.0/8'], 10],
  ])('storageos %j ends with %i', async (args, code) => {
    await cli('create', 'volume', 'data');
    expect((await cli(...args)).code).toBe(code);
  });
});

describe('settings', () => {
  it('of the cluster change one by one', async () => {
    expect((await cli('update', 'cluster', '--log-level', 'debug')).code).toBe(0);
    const changed = await json('update', 'cluster', '--log-format', 'json', '--telemetry', 'on');
    expect(changed).toMatchObject({
      logLevel: 'debug',
      logFormat: 'json',
      disableTelemetry: false,
      disableCrashReporting: true,
    });
    expect((await cli('update', 'cluster', '--telemetry', 'perhaps')).code).toBe(10);
    expect((await cli('update', 'cluster', '--log-level', 'loud')).code).toBe(10);
  });

  it('of nodes and namespaces', async () => {
    expect((await cli('update', 'node', 'labels', 'node-1', 'rack=a', '--upsert')).code).toBe(0);
    expect((await cli('update', 'node', 'compute-only', 'node-1', 'true')).code).toBe(0);
    expect((await cli('update', 'node', 'labels', 'node-1', 'rack=b', 'zone=1')).code).toBe(0);
    expect((await json('get', 'node', 'node-1')).labels).toEqual({
      rack: 'b',
      zone: '1',
      'storageos.com/computeonly': 'true',
    });
    expect((await cli('update', 'node', 'compute-only', 'node-1', 'perhaps')).code).toBe(10);
    await cli('create', 'namespace', 'apps', '-l', 'a=1');
    expect((await cli('update', 'namespace', 'labels', 'apps', 'b=2', '--upsert')).code).toBe(0);
    expect((await json('get', 'namespace', 'apps')).labels).toEqual({ a: '1', b: '2' });
  });
});

describe('a licence', () => {
  it('is read from a file, and refused by the API if it is none', async () => {
    const file = join(harness.directory, 'licence.txt');
    writeFileSync(file, 'no licence');
    expect((await cli('apply', 'licence', '--from-file', file)).code).toBe(10);
    expect((await cli('apply', 'licence', '--from-file', join(harness.directory, 'none'))).code).toBe(10);
    expect((await cli('apply', 'licence')).code).toBe(10);
    expect((await cli('apply', 'licence', '--from-file', file, '--from-stdin')).code).toBe(10);
  });

  it('that does not allow a volume is shown with the refusal', async () => {
    const refused = await cli('create', 'volume', 'large', '-s', '51GiB');
    expect(refused).toMatchObject({ code: 5, err: expect.stringMatching(/^Error: .*\n\n.*apply licence/) });
    expect(refused.err).toMatch(/Kind: +unregistered/);
  });
});

describe('diagnostics', () => {
  it('are saved under the name that the API gives, or another one', async () => {
    const target = join(harness.directory, 'bundle.tar.gz');
    const saved = await cli('get', 'diagnostics', '--output-file', target);
    expect([saved.code, saved.err]).toEqual([0, '']);
    expect(saved.out).toBe(`Diagnostics written to ${target}.\n`);
    expect(gunzipSync(readFileSync(target)).length).toBeGreaterThan(0);
    expect(readdirSync(harness.directory).filter((name) => name.startsWith('.bundle'))).toEqual([]);
    expect((await cli('get', 'diagnostics', '--target', 'node-9')).code).toBe(8);
    const nowhere = join(harness.directory, 'none', 'x');
    expect((await cli('get', 'diagnostics', '--output-file', nowhere)).code).toBe(1);
    expect(existsSync(nowhere)).toBe(false);
  });
});

it('replicas are only changed by those who understand', async () => {
  await cli('create', 'volume', 'data');
  expect((await cli('update', 'volume', 'replicas', 'data', '1')).code).toBe(10);
  expect((await cli('update', 'volume', 'replicas', 'data', '1', UNDERSTOOD)).code).toBe(0);
});
