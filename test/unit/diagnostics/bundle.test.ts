import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { NodeId } from '../../../core/types.js';
import { systemClock } from '../../../node-agent/clock.js';
import { readConfig } from '../../../node-agent/config.js';
import { collectLocal, type LocalSources } from '../../../node-agent/diagnostics/local.js';
import { fetchPart } from '../../../node-agent/diagnostics/peer.js';
import { RecentLines } from '../../../node-agent/diagnostics/recent-lines.js';
import { archiveEnd, archivePart } from '../../../node-agent/diagnostics/tar.js';
import { createLogger } from '../../../node-agent/log.js';
import { aNode } from '../../setup/records.js';

const execute = promisify(execFile);
const NODE = '11111111-2222-4333-8444-555555555555' as NodeId;
const TIME = '2026-01-02T03:04:05.678Z';

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'bundle-'));
});

afterEach(() => rm(directory, { recursive: true, force: true }));

describe('the archive', () => {
  it('is read by tar, in parts that were made apart', async () => {
    const files = [0, 1, 511, 512, 513, 70_000].map((length) => ({
      path: `folder/${length}.bin`,
      content: randomBytes(length),
    }));
    const parts = [
      await archivePart(files.slice(0, 3), TIME),
      await archivePart([], TIME),
      await archivePart(files.slice(3), TIME),
      await archiveEnd(),
    ];
    await writeFile(join(directory, 'a.tar.gz'), Buffer.concat(parts));
    await execute('tar', ['xzf', 'a.tar.gz'], { cwd: directory });
    expect((await readdir(join(directory, 'folder'))).length).toBe(files.length);
    for (const { path, content } of files) expect(await readFile(join(directory, path))).toEqual(content);
  });

  it('has no path that does not fit', async () => {
    await expect(archivePart([{ path: 'x'.repeat(101), content: Buffer.alloc(0) }], TIME)).rejects.toThrow(RangeError);
  });
});

describe('recent lines', () => {
  it('are the last that fit, long ones cut', () => {
    const recent = new RecentLines(100);
    for (let i = 0; i < 1000; i++) recent.add(`line ${i}\n`);
    const lines = recent.text().trimEnd().split('\n');
    expect(lines.length).toBe(11);
    expect(lines.at(-1)).toBe('line 999');
    expect(lines[0]).toBe('line 989');
    recent.add('y'.repeat(100_000));
    expect(recent.text().length).toBeLessThan(17_000);
  });

  it('are what the logger writes, children of it included', () => {
    const recent = new RecentLines();
    const written = createLogger({ level: 'info', node: 'node-1', recent });
    written.child({ volume: 'v' }).info({ step: 7 }, 'hello');
    written.debug('not shown');
    expect(
      recent
        .text()
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line)),
    ).toEqual([expect.objectContaining({ node: 'node-1', volume: 'v', step: 7, msg: 'hello', level: 'info' })]);
  });
});

function sources(patch: Partial<LocalSources> = {}): LocalSources {
  const config = readConfig({
    HOSTNAME: 'node-1',
    ADVERTISE_IP: '10.0.0.1',
    ROOT_DIR: directory,
    ETCD_ENDPOINTS: 'root:etcd-password@10.0.0.9:2379',
    TEMPORAL_ADDRESS: '10.0.0.9:7233',
    INTERNAL_TLS_CA_CERT: '/pki/ca.crt',
    INTERNAL_TLS_NODE_CERT: '/pki/node.crt',
    INTERNAL_TLS_NODE_KEY: '/pki/node.key',
    CLUSTER_KEY_FILE: '/secrets/cluster.key',
    KEY_DIR: '/secrets/volumes',
    BOOTSTRAP_USERNAME: 'storageos',
    BOOTSTRAP_PASSWORD: 'bootstrap-password',
  });
  return {
    node: NODE,
    config,
    codec: { engine: 'wasm', offloadBytes: Number.POSITIVE_INFINITY },
    clock: systemClock,
    metrics: new Registry(),
    deployments: () => [],
    attached: () => [],
    members: () => [],
    log: () => '{"msg":"hello"}\n',
    ...patch,
  };
}

describe("a node's part", () => {
  it('has log, metrics, configuration, facts of host and kernel, and no secret of the configuration', async () => {
    const { files, problems } = await collectLocal(sources());
    expect(problems).toEqual([]);
    const names = files.map(({ path }) => path);
    for (const name of [
      'log.jsonl',
      'metrics.txt',
      'node.json',
      'configuration.json',
      'host.json',
      'filesystem.json',
      'deployments.json',
      'kernel/proc/meminfo',
      'kernel/proc/self/mounts',
    ]) {
      expect(names).toContain(`nodes/${NODE}/${name}`);
    }
    const all = Buffer.concat(files.map(({ content }) => content)).toString();
    expect(all).toContain('10.0.0.9:2379');
    for (const secret of ['etcd-password', 'bootstrap-password']) expect(all).not.toContain(secret);
    const meminfo = files.find(({ path }) => path.endsWith('meminfo'));
    expect(meminfo?.content.toString()).toContain('MemTotal');
  });

  it('is there without what could not be had, which is named', async () => {
    const { files, problems } = await collectLocal(
      sources({
        deployments: () => {
          throw new Error('no disk');
        },
      }),
    );
    expect(problems).toEqual(['deployments.json: no disk']);
    expect(files.length).toBeGreaterThan(8);
  });
});

describe('the part of another node', () => {
  async function answering(status: number, body: Buffer, run: (endpoint: string, seen: string[]) => Promise<void>) {
    const seen: string[] = [];
    const server = createServer((request, response) => {
      seen.push(`${request.method} ${request.url} ${request.headers.authorization}`);
      response.writeHead(status).end(body);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      await run(`127.0.0.1:${(server.address() as AddressInfo).port}`, seen);
    } finally {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }
  const fetchFrom = (apiEndpoint: string) =>
    fetchPart({ apiTls: undefined }, aNode({ id: NODE, name: 'other', apiEndpoint }), 'Bearer token');

  it('is asked for with the right of the caller', async () => {
    const part = randomBytes(100_000);
    await answering(200, part, async (endpoint, seen) => {
      expect(await fetchFrom(endpoint)).toEqual({ part, complete: true });
      expect(seen).toEqual([`GET /v2/diagnostics/${NODE}/local Bearer token`]);
    });
  });

  it('may be incomplete', async () => {
    const part = randomBytes(100);
    await answering(502, part, async (endpoint) => {
      expect(await fetchFrom(endpoint)).toEqual({ part, complete: false });
    });
  });

  it('is missed in words', async () => {
    await answering(403, Buffer.alloc(0), async (endpoint) => {
      await expect(fetchFrom(endpoint)).rejects.toMatchObject({
        code: 'node-unavailable',
        message: expect.stringMatching(/status 403/),
      });
    });
    await answering(200, Buffer.alloc(9 << 20), async (endpoint) => {
      await expect(fetchFrom(endpoint)).rejects.toMatchObject({
        code: 'node-unavailable',
        message: expect.stringMatching(/more than/),
      });
    });
    await expect(fetchFrom('127.0.0.1:1')).rejects.toMatchObject({ code: 'node-unavailable' });
  });
});
