import { mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { Hono } from 'hono';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Clock } from '../../../core/ports.js';
import type { NodeId } from '../../../core/types.js';
import type { ApiEnvironment } from '../../../node-agent/api/request.js';
import { type ApiServer, listen } from '../../../node-agent/api/server.js';
import { TlsFiles } from '../../../node-agent/api/tls-files.js';
import { createAuthority, issueNodeCertificate, type KeyPair } from '../../../node-agent/pki/index.js';

const NODE = '11111111-2222-4333-8444-555555555555' as NodeId;

let directory: string;
let authority: KeyPair;
let files: TlsFiles | undefined;
let server: ApiServer | undefined;
const troubles: string[] = [];

/** Its timers run when the test says so. */
const timers: (() => void)[] = [];
const clock: Clock = {
  now: () => 0,
  timestamp: () => '',
  after: (_, run) => {
    timers.push(run);
    return { cancel: () => {} };
  },
};

/** Lets the files be looked at once more. */
async function look(): Promise<void> {
  const before = timers.length;
  timers[before - 1]?.();
  await expect.poll(() => timers.length).toBeGreaterThan(before);
}

const path = (name: string) => join(directory, name);
const issue = (name: string) => issueNodeCertificate(authority, { node: NODE, name, addresses: ['127.0.0.1', name] });

/** In the manner of Kubernetes: the names that are configured lead over a link to a folder that is replaced. */
async function publish(name: string, files: Partial<Awaited<ReturnType<typeof issue>>>): Promise<void> {
  const folder = await mkdtemp(path('..data-'));
  await writeFile(join(folder, 'tls.crt'), files.certificate ?? '');
  await writeFile(join(folder, 'tls.key'), files.key ?? '');
  await symlink(folder, path(`..${name}`));
  await rename(path(`..${name}`), path('..data'));
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'api-tls-'));
  authority = await createAuthority({ cluster: 'test' });
  await symlink('..data/tls.crt', path('tls.crt'));
  await symlink('..data/tls.key', path('tls.key'));
  troubles.length = 0;
  timers.length = 0;
});

afterEach(async () => {
  await server?.close();
  files?.close();
  [server, files] = [undefined, undefined];
  await rm(directory, { recursive: true, force: true });
});

const open = () =>
  TlsFiles.open({
    cert: path('tls.crt'),
    key: path('tls.key'),
    clock,
    onTrouble: ({ message }) => troubles.push(message),
  });

/** The name in the certificate that a new connection is shown. */
function shown(port: number): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    request({ host: '127.0.0.1', port, path: '/hello', ca: authority.certificate, agent: false }, (response) => {
      const { subjectaltname } = (response.socket as TLSSocket).getPeerCertificate();
      response.resume().on('end', () => resolve(subjectaltname));
    })
      .on('error', reject)
      .end();
  });
}

async function serve(): Promise<number> {
  files = await open();
  const app = new Hono<ApiEnvironment>().get('/hello', (c) => c.json({ hello: 'world' }));
  server = await listen(app, { host: '127.0.0.1', port: 0, tls: files });
  return server.address.port;
}

describe('TLS on the API', () => {
  it('speaks nothing else where it has a certificate', async () => {
    await publish('first', await issue('first.example'));
    const port = await serve();
    expect(await shown(port)).toContain('first.example');
    await expect(fetch(`http://127.0.0.1:${port}/hello`)).rejects.toThrow();
  });

  it('shows the new certificate when the files have changed, without a restart', async () => {
    await publish('first', await issue('first.example'));
    const port = await serve();
    await look();
    expect(await shown(port)).toContain('first.example');
    await publish('second', await issue('second.example'));
    await look();
    expect(await shown(port)).toContain('second.example');
    expect(troubles).toEqual([]);
  });

  it('keeps the old one, and says so once, while the files are not a pair', async () => {
    const first = await issue('first.example');
    await publish('first', first);
    const port = await serve();
    const second = await issue('second.example');
    await publish('half', { ...second, key: first.key });
    await look();
    await look();
    expect(await shown(port)).toContain('first.example');
    expect(troubles).toEqual([expect.stringContaining('no certificate and its key')]);
    await publish('gone', {});
    await look();
    expect(await shown(port)).toContain('first.example');
    await publish('second', second);
    await look();
    expect(await shown(port)).toContain('second.example');
  });

  it.each([
    ['a file that is missing', undefined],
    ['a file that is no certificate', { certificate: 'x', key: 'y' }],
  ])('says which files do not serve: %s', async (_, content) => {
    if (content !== undefined) await publish('bad', content as Awaited<ReturnType<typeof issue>>);
    await expect(open()).rejects.toMatchObject({ code: 'invalid', message: expect.stringContaining('tls.crt') });
  });
});
