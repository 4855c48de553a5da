/** Everything that a used cluster has written, says and remembers, searched for its secrets. */

import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Client, Connection } from '@temporalio/client';
import { temporal } from '@temporalio/proto';
import { Etcd3 } from 'etcd3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ApiClient } from '../../client/api.js';
import { waitFor } from '../../cluster/wait.js';
import type { VolumeId } from '../../core/types.js';
import { KEY_SECONDS } from '../../node-agent/api/tokens.js';
import { deriveKey, FileKeyStore } from '../../node-agent/keys/index.js';
import { bytes, find, findInFiles, type Needles, pem, text } from '../setup/needles.js';
import { TestCluster } from '../setup/test-cluster.js';

const run = promisify(execFile);
const DATA_BYTES = 4 << 20;

const password = `first ${randomBytes(12).toString('hex')} "quoted"`;
const changed = `second ${randomBytes(12).toString('hex')}`;
const guessed = `guess ${randomBytes(12).toString('hex')}`;
const plain = `plain text of an application ${randomBytes(12).toString('hex')} `;

let test: TestCluster;
let needles: Needles;
let volume: string;

beforeAll(async () => {
  test = await TestCluster.start({ settings: { LOG_LEVEL: 'debug' } });
  const tokens = await useUsers();
  volume = await useVolume();
  needles = await collect(tokens);
});

afterAll(async () => {
  await test?.destroy();
});

const endpoint = (i = 0) => test.cluster.nodes[i]?.apiEndpoint ?? '';
const secretFile = (...names: string[]) => join(test.cluster.dataDir.secretsDir, ...names);

/** Logs in rightly and wrongly, changes a password. Returns the tokens that were given. */
async function useUsers(): Promise<string[]> {
  const { api, credentials } = test.cluster;
  const { body: user } = await api.request<{ id: string; version: string }>('POST', '/users', {
    body: { username: 'eva', password },
  });
  const login = async (username: string, secret: string) => {
    const response = await fetch(`http://${endpoint(1)}/v2/auth/login`, {
      method: 'POST',
      body: JSON.stringify({ username, password: secret }),
    });
    const { session } = (await response.json()) as { session?: { token: string } };
    return session?.token;
  };
  const tokens = [await login('eva', password), await login(credentials.username, credentials.password)];
  await api.request('PUT', `/users/${user.id}`, { body: { password: changed, version: user.version } });
  tokens.push(await login('eva', changed));
  expect([await login('eva', guessed), await login(guessed, guessed)]).toEqual([undefined, undefined]);
  // A client that mistakes one field for another, and one that sends its token where it does not belong.
  const mistaken = { method: 'PUT', body: JSON.stringify({ password: [guessed], key: guessed }) };
  for (const path of ['/users/self', '/cluster/licence']) {
    const headers = { authorization: `Bearer ${tokens[1]}` };
    expect((await fetch(`http://${endpoint()}/v2${path}`, { ...mistaken, headers })).status).toBe(400);
    await fetch(`http://${endpoint()}/v2${path}?ignore-version=${tokens[1]}`, { headers });
  }
  return tokens.map((token) => token ?? 'no token');
}

/** An encrypted volume that is written to, loses its primary and gets it back. */
async function useVolume(): Promise<string> {
  const made = await test.createVolume('secret', 1);
  const uri = await test.attach(made, test.bystander(made));
  const file = join(test.cluster.dataDir.runDir, 'plain');
  writeFileSync(file, plain.repeat(Math.ceil(DATA_BYTES / plain.length)).slice(0, DATA_BYTES));
  await run('nbdcopy', [file, uri]);
  rmSync(file);
  const victim = test.nodeOf(made.master.nodeID);
  await test.cluster.killNode(victim.name);
  await test.untilReady(made, 1);
  await test.cluster.startNode(victim.name);
  return made.id;
}

async function collect(tokens: readonly string[]): Promise<Needles> {
  const { dataDir, credentials, nodes } = test.cluster;
  const clusterKey = readFileSync(secretFile('cluster.key'));
  const volumeKey = await new FileKeyStore({ directory: secretFile('volumes'), clusterKey }).load(volume as VolumeId);
  const period = Math.floor(Date.now() / 1000 / KEY_SECONDS);
  const users = await api().get<{ username: string }[]>('/users');
  expect(users.map(({ username }) => username).sort()).toEqual(['eva', credentials.username].sort());
  return new Map<string, Buffer[]>([
    ['password of the administrator', text(credentials.password)],
    ['password', text(password)],
    ['changed password', text(changed)],
    ['guessed password', text(guessed)],
    ['plain text', text(plain.trim())],
    ...tokens.map(
      (token, i) => [`token ${i}`, [Buffer.from(token), Buffer.from(token.split('.')[2] ?? token)]] as const,
    ),
    ['cluster key', bytes(clusterKey)],
    ...[period - 1, period].map(
      (p) => [`signing key ${p}`, bytes(deriveKey(clusterKey, `api session tokens ${p}`))] as const,
    ),
    ['gossip key', bytes(deriveKey(clusterKey, 'gossip'))],
    [
      'volume key',
      [...bytes(volumeKey.bytes), ...bytes(volumeKey.bytes.subarray(0, 32)), ...bytes(volumeKey.bytes.subarray(32))],
    ],
    ['licence key', pem(readFileSync(secretFile('licence.key'), 'utf8'))],
    ['key of the authority', pem(readFileSync(join(dataDir.pkiDir, 'ca.key'), 'utf8'))],
    ...nodes.map(
      ({ name }) => [`key of ${name}`, pem(readFileSync(join(dataDir.pkiDir, name, 'node.key'), 'utf8'))] as const,
    ),
  ] as [string, Buffer[]][]);
}

/** The volume as its consumer sees it: a file of FUSE. */
function isDevice(path: string): boolean {
  return path.includes('.fuse/');
}

function api(): ApiClient {
  return test.cluster.api;
}

it('the search finds what is there', () => {
  const { dataDir } = test.cluster;
  for (const [name, forms] of needles) expect([name, forms.length]).not.toEqual([name, 0]);
  const found = findInFiles(needles, dataDir.root, isDevice).map((line) => line.split(' in ')[0]);
  // Where they belong: credentials.json, secrets/ and pki/.
  expect(found).toEqual(
    expect.arrayContaining([
      'password of the administrator',
      'cluster key',
      'licence key',
      'key of the authority',
      'key of node1',
    ]),
  );
});

describe('no secret is', () => {
  it('in a file, but where secrets are kept', () => {
    const { dataDir } = test.cluster;
    const kept = [dataDir.credentialsFile, dataDir.secretsDir, dataDir.pkiDir];
    const leaveOut = (path: string) => isDevice(path) || kept.some((folder) => path.startsWith(folder));
    expect(findInFiles(needles, dataDir.root, leaveOut)).toEqual([]);
  });

  it('in etcd', async () => {
    const [host = ''] = test.cluster.etcdEndpoints;
    const etcd = new Etcd3({ hosts: host });
    try {
      const all = await etcd.getAll().buffers();
      expect(Object.keys(all)).toContain(`storageos/volumes/${volume}`);
      const found = Object.entries(all).flatMap(([key, value]) =>
        find(needles, value).map((name) => `${name} in ${key}`),
      );
      expect(found).toEqual([]);
    } finally {
      etcd.close();
    }
  });

  it('in a history of Temporal', async () => {
    const connection = await Connection.connect({ address: test.cluster.temporalAddress });
    try {
      const client = new Client({ connection });
      const histories: Buffer[] = [];
      for await (const { workflowId, runId } of client.workflow.list()) {
        const history = await client.workflow.getHandle(workflowId, runId).fetchHistory();
        histories.push(Buffer.from(temporal.api.history.v1.History.encode(history).finish()));
      }
      expect(histories.some((history) => history.includes(volume))).toBe(true);
      expect(histories.flatMap((history) => find(needles, history))).toEqual([]);
    } finally {
      await connection.close();
    }
  });

  it('in what the agents say of themselves, nor is a hash of a password', async () => {
    const hashes: Needles = new Map([...needles, ['hash of a password', [Buffer.from('$argon2')]]]);
    const namespace = await api().namespaceId('default');
    const paths = ['/users', '/users/self', '/policies', '/nodes', '/namespaces', '/cluster', '/cluster/licence'];
    for (const [i] of test.cluster.nodes.entries()) {
      for (const path of ['/metrics', '/healthz', '/v2/openapi']) {
        const answer = await fetch(`http://${endpoint(i)}${path}`);
        expect([path, find(hashes, Buffer.from(await answer.text()))]).toEqual([path, []]);
      }
    }
    for (const path of [...paths, `/namespaces/${namespace}/volumes`]) {
      const { body } = await api().request('GET', path);
      expect([path, find(hashes, Buffer.from(JSON.stringify(body)))]).toEqual([path, []]);
    }
  });

  it('in a log, nor is a hash of a password', async () => {
    const hash: Needles = new Map([['hash of a password', [Buffer.from('$argon2')]]]);
    const logs = test.cluster.nodes.map(({ log }) => log);
    const content = await waitFor('the logs', async () => logs.map((log) => readFileSync(log)), { timeoutMs: 1000 });
    // They tell of the requests that were made.
    for (const log of content) expect(log.includes('"request"')).toBe(true);
    expect(content.flatMap((log) => [...find(needles, log), ...find(hash, log)])).toEqual([]);
  });
});
