/**
 * The HTTP API with 10,000 volumes: how long requests take, beside what they cannot be faster than.
 *
 *   npm run bench -- api [--quick]
 *
 * Routes, access, sessions and state are the agent's, etcd is real; the controller answers at once, so that creating
 * measures the API and etcd and no data plane. Client and server share one process, as the limits do: Hono answering
 * the same bytes, etcd's range read of the same keys, the password's hash by itself. All take turns in every round.
 */

import { randomUUID } from 'node:crypto';
import { Agent, request } from 'node:http';
import { Etcd3 } from 'etcd3';
import { Hono } from 'hono';
import type { DeploymentId, NamespaceId, VolumeId } from '../core/types.js';
import { PasswordHasher } from '../node-agent/api/passwords.js';
import type { ApiEnvironment } from '../node-agent/api/request.js';
import { listen } from '../node-agent/api/server.js';
import { signLicence } from '../node-agent/licence/text.js';
import { encodeValue } from '../node-agent/state/encoding.js';
import { nameKey, objectKey } from '../node-agent/state/keys.js';
import { TestEtcd } from '../test/setup/etcd.js';
import { aMembership, aVolume } from '../test/setup/records.js';
import { ADMIN, type Fixture, licenceKeys, startFixture } from '../test/unit/api/fixture.js';
import { saveResults } from './results.js';

const quick = process.argv.includes('--quick');
const VOLUMES = quick ? 1_000 : 10_000;
const ROUNDS = quick ? 3 : 10;
/** Four keys each; etcd takes 128 operations in a transaction. */
const VOLUMES_PER_TRANSACTION = 32;
const LICENCE_MS = 24 * 3_600_000;

interface Load {
  readonly name: string;
  /** Calls of one round. */
  readonly calls: number;
  /** Requests under way at the same time. */
  readonly depth: number;
  readonly call: () => Promise<unknown>;
  /** The load that shows how fast it could be. */
  readonly limit?: string;
}

const agent = new Agent({ keepAlive: true, maxSockets: 64 });

function send(url: string, method: string, headers: Record<string, string>, body?: object): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method, agent, headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const answer = Buffer.concat(chunks);
        if ((response.statusCode ?? 500) < 300) resolve(answer);
        else reject(new Error(`${method} ${url}: ${response.statusCode} ${answer.toString().slice(0, 500)}`));
      });
    });
    sent.on('error', reject);
    sent.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

/** Room for all volumes of the benchmark. */
async function license({ request, state }: Fixture): Promise<void> {
  const key = signLicence(
    {
      clusterID: (await state.cluster()).value.id,
      customerName: 'benchmark',
      kind: 'developer',
      clusterCapacityGiB: 2 * VOLUMES,
      expiresAt: new Date(Date.now() + LICENCE_MS).toISOString(),
      features: [],
    },
    licenceKeys.privateKey,
  );
  const { status } = await request('PUT', '/cluster/licence?ignore-version=true', { key });
  if (status !== 200) throw new Error(`the licence is refused with ${status}`);
}

/** Ready ones with two copies in sync, as the control plane writes them but many in one transaction. Returns one. */
async function makeVolumes(api: Fixture, client: Etcd3, count: number): Promise<VolumeId> {
  const { state, nodes, etcdPrefix } = api;
  const namespace = api.namespace as NamespaceId;
  const records = (n: number): readonly (readonly [string, object | string])[] => {
    const placements = [n, n + 1].map((at) => ({
      deployment: randomUUID() as DeploymentId,
      node: nodes[at % nodes.length]!,
    }));
    const labels = { 'storageos.com/replicas': '1', 'csi.storage.k8s.io/pvc/name': `claim-${n}`, app: 'bench' };
    const volume = aVolume({ namespace, name: `volume-${n}`, labels, placements });
    const { primary, ...membership } = aMembership(volume.id);
    last = volume.id;
    return [
      [objectKey('volumes', volume.id), volume],
      [nameKey('volumes', namespace, volume.name), volume.id],
      [
        objectKey('attachments', volume.id),
        { volume: volume.id, generation: 0, mode: 'rw', updatedAt: volume.updatedAt },
      ],
      [
        objectKey('memberships', volume.id),
        { ...membership, primary: { ...primary, ...placements[0]! }, inSync: placements.map((one) => one.deployment) },
      ],
    ];
  };
  let last = '' as VolumeId;
  for (let n = 0; n < count; n += VOLUMES_PER_TRANSACTION) {
    const length = Math.min(VOLUMES_PER_TRANSACTION, count - n);
    const puts = Array.from({ length }, (_, i) => records(n + i)).flat();
    await client.kv.txn({
      compare: [],
      failure: [],
      success: puts.map(([key, value]) => ({
        request_put: { key: Buffer.from(`${etcdPrefix}/${key}`), value: encodeValue(key, value) },
      })),
    });
  }
  while (state.memberships.cached.size < count) await new Promise((resolve) => setTimeout(resolve, 50));
  return last;
}

/** Latencies of one round, ms. */
async function measure({ calls, depth, call }: Load): Promise<number[]> {
  const taken: number[] = [];
  let left = calls;
  const one = async () => {
    while (left-- > 0) {
      const began = performance.now();
      await call();
      taken.push(performance.now() - began);
    }
  };
  await Promise.all(Array.from({ length: depth }, one));
  return taken;
}

/** Microseconds are enough. */
function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}

function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

const etcd = await TestEtcd.start();
const closing: (() => unknown)[] = [() => etcd.destroy(), () => agent.destroy()];
try {
  const api = await startFixture(etcd);
  closing.unshift(() => api.close());
  await license(api);
  console.log(`making ${VOLUMES} volumes …`);
  // 10,000 volumes are more than the 4 MiB that gRPC takes by default.
  const client = new Etcd3({ hosts: [etcd.endpoint], grpcOptions: { 'grpc.max_receive_message_length': -1 } });
  closing.unshift(() => client.close());
  const volume = await makeVolumes(api, client, VOLUMES);
  const server = await listen(api.app, { host: '127.0.0.1', port: 0 });
  closing.unshift(() => server.close());
  const base = `http://127.0.0.1:${server.address.port}/v2`;
  const volumes = `${base}/namespaces/${api.namespace}/volumes`;

  let authorization = '';
  const login = async () => {
    const answer = JSON.parse((await send(`${base}/auth/login`, 'POST', {}, ADMIN)).toString());
    authorization = answer.session.token;
  };
  await login();
  const get = (url: string) => send(url, 'GET', { authorization });

  const [listBytes, itemBytes] = [await get(volumes), await get(`${volumes}/${volume}`)];
  const json = { 'Content-Type': 'application/json' };
  const bare = await listen(
    new Hono<ApiEnvironment>()
      .get('/list', (c) => c.body(new Uint8Array(listBytes), 200, json))
      .get('/item', (c) => c.body(new Uint8Array(itemBytes), 200, json)),
    { host: '127.0.0.1', port: 0 },
  );
  closing.unshift(() => bare.close());
  const bareUrl = `http://127.0.0.1:${bare.address.port}`;
  const prefix = `${api.etcdPrefix}/volumes/`;
  const hasher = new PasswordHasher();

  let made = 0;
  const loads: readonly Load[] = [
    { name: 'list', calls: 3, depth: 1, call: () => get(volumes), limit: 'list: Hono, same bytes' },
    { name: 'list: Hono, same bytes', calls: 3, depth: 1, call: () => send(`${bareUrl}/list`, 'GET', {}) },
    { name: "list: etcd's range read", calls: 3, depth: 1, call: () => client.getAll().prefix(prefix).buffers() },
    { name: 'get', calls: 200, depth: 1, call: () => get(`${volumes}/${volume}`), limit: 'get: Hono, same bytes' },
    { name: 'get: Hono, same bytes', calls: 200, depth: 1, call: () => send(`${bareUrl}/item`, 'GET', {}) },
    { name: 'get: etcd, one key', calls: 200, depth: 1, call: () => client.get(`${prefix}${volume}`).buffer() },
    { name: 'get, 8 at a time', calls: 400, depth: 8, call: () => get(`${volumes}/${volume}`) },
    { name: 'login', calls: 5, depth: 1, call: login, limit: 'login: argon2id alone' },
    { name: 'login: argon2id alone', calls: 5, depth: 1, call: () => hasher.hash(ADMIN.password) },
    {
      name: 'create',
      calls: 20,
      depth: 1,
      call: () => {
        const body = { name: `new-${made++}`, namespaceID: api.namespace, sizeBytes: 2 ** 30, fsType: 'ext4' };
        return send(volumes, 'POST', { authorization }, body);
      },
      limit: 'create: etcd, one write',
    },
    {
      name: 'create: etcd, one write',
      calls: 20,
      depth: 1,
      call: () => client.put(`bench/${made++}`).value(itemBytes).exec(),
    },
  ];

  const taken = new Map<string, number[]>(loads.map(({ name }) => [name, []]));
  for (let round = 0; round <= ROUNDS; round++) {
    // Tokens live for five minutes.
    await login();
    for (const load of loads) {
      const figures = await measure(load);
      // The first round warms up.
      if (round > 0) taken.get(load.name)?.push(...figures);
    }
  }

  const rows = loads.map(({ name, limit }) => {
    const sorted = [...(taken.get(name) ?? [])].sort((a, b) => a - b);
    const [p50, p95, p99] = [0.5, 0.95, 0.99].map((share) => rounded(percentile(sorted, share)));
    const best =
      limit === undefined
        ? undefined
        : percentile(
            [...(taken.get(limit) ?? [])].sort((a, b) => a - b),
            0.5,
          );
    const timesTheLimit = best === undefined ? undefined : rounded(p50! / best);
    return { name, calls: sorted.length, p50, p95, p99, ...(timesTheLimit !== undefined && { timesTheLimit }) };
  });
  const digits = (value: number | undefined) => (value === undefined ? '' : value.toFixed(2));
  console.log(`\n${VOLUMES} volumes, list of ${(listBytes.length / 2 ** 20).toFixed(1)} MiB; milliseconds`);
  console.log(`${''.padEnd(26)}${['calls', 'p50', 'p95', 'p99', '× limit'].map((head) => head.padStart(10)).join('')}`);
  for (const { name, calls, p50, p95, p99, timesTheLimit } of rows) {
    const cells = [String(calls), digits(p50), digits(p95), digits(p99), digits(timesTheLimit)];
    console.log(`${name.padEnd(26)}${cells.map((cell) => cell.padStart(10)).join('')}`);
  }
  if (!quick) saveResults('api', { volumes: VOLUMES, rounds: ROUNDS, listBytes: listBytes.length }, { loads: rows });
} finally {
  for (const close of closing) await close();
}
