/** The diagnostics bundle of real agents. */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { ApiVolume } from '../../client/types.js';
import type { VolumeId } from '../../core/types.js';
import { deriveKey, FileKeyStore } from '../../node-agent/keys/index.js';
import { bytes, find, type Needles, pem, text } from '../setup/needles.js';
import { TestCluster } from '../setup/test-cluster.js';

let test: TestCluster;
let volume: ApiVolume;

beforeAll(async () => {
  test = await TestCluster.start({ nodes: 2, settings: { LOG_LEVEL: 'debug' } });
  volume = await test.createVolume('orders', 1);
});

afterAll(async () => {
  await test?.destroy();
});

async function bundle(path = '/diagnostics') {
  const response = await test.cluster.api.transport.send('GET', path);
  const content = gunzipSync(await buffer(response.body));
  return { response, content, has: (name: string) => content.includes(`${name}\0`) };
}

/** Everything that is kept secret in this cluster. */
async function secrets(): Promise<Needles> {
  const { dataDir, credentials } = test.cluster;
  const secret = (...names: string[]) => join(dataDir.secretsDir, ...names);
  const clusterKey = readFileSync(secret('cluster.key'));
  const key = await new FileKeyStore({ directory: secret('volumes'), clusterKey }).load(volume.id as VolumeId);
  const pki = readdirSync(dataDir.pkiDir, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.key'),
  );
  expect(pki.length).toBeGreaterThan(2);
  return new Map([
    ['password', text(credentials.password)],
    ['hash of a password', [Buffer.from('$argon2')]],
    ['a token', [Buffer.from('eyJ')]],
    ['cluster key', bytes(clusterKey)],
    ['gossip key', bytes(deriveKey(clusterKey, 'gossip'))],
    ['volume key', bytes(key.bytes)],
    ...pki.map((name) => [name, pem(readFileSync(join(dataDir.pkiDir, name), 'utf8'))] as const),
  ]);
}

it('has the state of the cluster and the logs, figures and settings of all nodes, and no secret', async () => {
  const { response, content, has } = await bundle();
  expect(response.status).toBe(200);
  expect(has('cluster/volumes.json')).toBe(true);
  for (const { id } of test.cluster.nodes) {
    for (const name of ['log.jsonl', 'metrics.txt', 'configuration.json', 'deployments.json', 'kernel/proc/meminfo']) {
      expect([name, has(`nodes/${id}/${name}`)]).toEqual([name, true]);
    }
  }
  expect(content.includes(volume.id)).toBe(true);
  expect(content.includes('"msg":"agent ready"')).toBe(true);
  expect(find(await secrets(), content)).toEqual([]);
});

it('of one node comes from any node, and is incomplete while it is away', async () => {
  const { api, nodes } = test.cluster;
  const [first, second] = nodes;
  if (first === undefined || second === undefined) throw new Error('two nodes');
  for (const { id } of nodes) {
    const { response, has } = await bundle(`/diagnostics/${id}`);
    expect(response.status).toBe(200);
    expect(nodes.map((node) => has(`nodes/${node.id}/log.jsonl`))).toEqual(nodes.map((node) => node.id === id));
  }
  await test.cluster.killNode(second.name);
  const { response, content, has } = await bundle();
  expect(response.status).toBe(502);
  expect(response.header('content-type')).toBe('application/octet-stream');
  expect([has(`nodes/${first.id}/log.jsonl`), has(`nodes/${second.id}/log.jsonl`)]).toEqual([true, false]);
  expect(content.toString('latin1')).toMatch(new RegExp(`node "${second.name}"[^\n]*ECONNREFUSED`));
  expect((await api.nodes()).length).toBe(2);
});
