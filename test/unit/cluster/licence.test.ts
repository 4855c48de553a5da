import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { ApiClient } from '../../../client/api.js';
import { clusterApi } from '../../../cluster/api.js';
import { DataDir } from '../../../cluster/data-dir.js';
import { ensureLicence, ensureLicenceKey } from '../../../cluster/licence.js';
import { type ApiServer, listen } from '../../../node-agent/api/server.js';
import { issueLicence, loadPrivateKey, loadPublicKeys } from '../../../node-agent/licence/index.js';
import { TestEtcd } from '../../setup/etcd.js';
import { ADMIN, type Fixture, startFixture } from '../api/fixture.js';

let root: string;
let dataDir: DataDir;
let etcd: TestEtcd;
let agent: Fixture;
let server: ApiServer;
let api: ApiClient;

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'cluster-licence-'));
  dataDir = new DataDir(root);
  dataDir.create();
  etcd = await TestEtcd.start();
  agent = await startFixture(etcd, { licenceKeys: await loadPublicKeys(await ensureLicenceKey(dataDir)) });
  server = await listen(agent.app, { host: '127.0.0.1', port: 0 });
  api = clusterApi(() => [`127.0.0.1:${server.address.port}`], ADMIN);
});

afterEach(async () => {
  await server?.close();
  agent?.close();
  await etcd?.destroy();
  rmSync(root, { recursive: true, force: true });
});

interface Shown {
  readonly clusterID: string;
  readonly kind: string;
  readonly customerName: string;
  readonly clusterCapacityBytes: number;
  readonly expiresAt: string;
  readonly version: string;
}
const shown = () => api.get<Shown>('/cluster/licence');

async function apply(customerName: string, days: number): Promise<Shown> {
  const key = await loadPrivateKey(join(dataDir.secretsDir, 'licence.key'));
  const { clusterID, version } = await shown();
  const terms = { clusterID, customerName, kind: 'project', clusterCapacityGiB: 7, features: [] };
  const text = issueLicence(terms, days, key, new Date());
  await api.request('PUT', '/cluster/licence', { body: { key: text, version } });
  return shown();
}

it('a new cluster gets a developer licence of 5 TiB, once', async () => {
  await ensureLicence(dataDir, api);
  const first = await shown();
  expect(first).toMatchObject({ kind: 'developer', clusterCapacityBytes: 5 * 2 ** 40 });
  await ensureLicence(dataDir, api);
  expect(await shown()).toEqual(first);
});

it('one of its own that ends soon is renewed, with the key that it had', async () => {
  await ensureLicence(dataDir, api);
  const ending = await apply((await shown()).customerName, 10);
  await ensureLicenceKey(dataDir);
  await ensureLicence(dataDir, api);
  const renewed = await shown();
  expect(renewed.kind).toBe('developer');
  expect(Date.parse(renewed.expiresAt)).toBeGreaterThan(Date.parse(ending.expiresAt));
});

it('one that somebody else has issued is left alone, also when it ends', async () => {
  const theirs = await apply('Example Ltd', 10);
  await ensureLicence(dataDir, api);
  expect(await shown()).toEqual(theirs);
});
