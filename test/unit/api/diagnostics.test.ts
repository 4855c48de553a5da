import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { DomainError } from '../../../core/errors.js';
import { archivePart } from '../../../node-agent/diagnostics/tar.js';
import { TestEtcd } from '../../setup/etcd.js';
import { type Fixture, startFixture } from './fixture.js';

const execute = promisify(execFile);
const TIME = '2026-01-02T03:04:05.678Z';

let etcd: TestEtcd;
let api: Fixture;
let directory: string;
/** Names of nodes that do not answer. */
const away = new Set<string>();
/** That could not collect all. */
const damaged = new Set<string>();
let localProblems: string[] = [];

beforeAll(async () => {
  etcd = await TestEtcd.start();
  directory = await mkdtemp(join(tmpdir(), 'diagnostics-'));
  api = await startFixture(etcd, {
    diagnostics: {
      local: async () => ({
        files: [{ path: 'nodes/self/log.jsonl', content: Buffer.from('own\n') }],
        problems: localProblems,
      }),
      remote: async ({ name }, authorization) => {
        if (away.has(name)) throw new DomainError('node-unavailable', 'does not answer');
        const log = { path: `nodes/${name}/log.jsonl`, content: Buffer.from(authorization) };
        return { part: await archivePart([log], TIME), complete: !damaged.has(name) };
      },
    },
  });
});

afterAll(async () => {
  api?.close();
  await etcd?.destroy();
  await rm(directory, { recursive: true, force: true });
});

async function bundle(path: string) {
  const authorization = `Bearer ${await api.login('storageos', 'storageos-secret')}`;
  const response = await api.app.request(`/v2${path}`, { headers: { authorization } });
  const file = join(directory, 'bundle.tar.gz');
  await writeFile(file, Buffer.from(await response.arrayBuffer()));
  const { stdout } = await execute('tar', ['tzf', file]);
  await execute('tar', ['xzf', file, '-C', directory]);
  const text = (name: string) => readFile(join(directory, name), 'utf8');
  return { response, names: stdout.trim().split('\n'), text, authorization };
}

it('has the state of the cluster and the part of every node', async () => {
  await api.state.updateCluster((cluster) => ({ ...cluster, licence: 'signed by somebody' }));
  const { response, names, text, authorization } = await bundle('/diagnostics');
  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toBe('application/octet-stream');
  // Clients take the name from the second of two parts.
  expect(response.headers.get('content-disposition')).toMatch(/^attachment; filename="diagnostics-[\w-]+\.tar\.gz"$/);
  expect(names).toEqual(
    expect.arrayContaining([
      'cluster/volumes.json',
      'nodes/self/log.jsonl',
      'nodes/node-2/log.jsonl',
      'nodes/node-3/log.jsonl',
    ]),
  );
  expect(await text('nodes/node-2/log.jsonl')).toBe(authorization);
  expect(await text('problems.txt')).toBe('');
  expect(JSON.parse(await text('cluster/nodes.json'))).toHaveLength(3);
  expect(Object.keys(JSON.parse(await text('cluster/cluster.json')))).not.toContain('licence');
  const users = await text('cluster/users.json');
  expect(users).toContain('storageos');
  expect(users).not.toContain('argon2');
});

it('is incomplete, with its own status, when a node is away', async () => {
  away.add('node-3');
  damaged.add('node-2');
  localProblems = ['deployments.json: no disk'];
  try {
    const { response, names, text } = await bundle('/diagnostics');
    expect(response.status).toBe(502);
    expect(response.headers.get('content-type')).toBe('application/octet-stream');
    expect(names).toContain('nodes/node-2/log.jsonl');
    expect(names).not.toContain('nodes/node-3/log.jsonl');
    expect((await text('problems.txt')).split('\n').sort()).toEqual(
      [
        '',
        'node "node-3": does not answer',
        `node "node-1": incomplete, see nodes/${api.nodes[0]}/problems.txt`,
        `node "node-2": incomplete, see nodes/${api.nodes[1]}/problems.txt`,
      ].sort(),
    );
    expect(await text(`nodes/${api.nodes[0]}/problems.txt`)).toBe('deployments.json: no disk\n');
  } finally {
    away.clear();
    damaged.clear();
    localProblems = [];
  }
});

it('of one node has that node only', async () => {
  const { response, names } = await bundle(`/diagnostics/${api.nodes[1]}`);
  expect(response.status).toBe(200);
  expect(names.filter((name) => name.startsWith('nodes/'))).toEqual(['nodes/node-2/log.jsonl']);
});

it('is for administrators, of nodes that there are', async () => {
  await api.request('POST', '/users', { username: 'eva', password: 'long enough' });
  const eva = { authorization: await api.login('eva', 'long enough') };
  for (const path of ['/diagnostics', `/diagnostics/${api.nodes[0]}`, `/diagnostics/${api.nodes[0]}/local`]) {
    expect((await api.request('GET', path, undefined, eva)).status).toBe(403);
    expect((await api.request('GET', path, undefined, {})).status).toBe(401);
  }
  expect((await api.request('GET', '/diagnostics/11111111-2222-4333-8444-555555555555')).status).toBe(404);
  // A node tells of itself only.
  expect((await api.request('GET', `/diagnostics/${api.nodes[1]}/local`)).status).toBe(404);
});

it('is made two at a time at the most', async () => {
  const answers = await Promise.all(Array.from({ length: 6 }, () => api.request('GET', '/diagnostics')));
  const statuses = answers.map(({ status }) => status);
  expect(statuses.filter((status) => status === 200).length).toBeGreaterThanOrEqual(1);
  expect(new Set(statuses)).toEqual(new Set([200, 503]));
});
