import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BinaryError, binaryCache, ensureBinaries, type Step } from '../../../cluster/binaries.js';

const ETCD = '3.6.16';

let scratch: string;
let steps: string[];
const step: Step = async (name, work) => {
  steps.push(name);
  return await work();
};

beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'storageos-binaries-'));
  steps = [];
});

afterEach(() => rmSync(scratch, { recursive: true, force: true }));

/** A program that says that it is this version. */
function program(folder: string, name: string, says: string): string {
  mkdirSync(folder, { recursive: true });
  const path = join(folder, name);
  writeFileSync(path, `#!/bin/sh\necho "${says}"\n`);
  chmodSync(path, 0o755);
  return path;
}

/** Nothing but a shell's own programs in PATH, and no network beyond this machine. */
function environment(more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  return {
    PATH: join(scratch, 'bin'),
    HOME: scratch,
    STORAGEOS_ETCD_RELEASES: 'http://127.0.0.1:1/none',
    ...more,
  };
}

async function etcd(env: NodeJS.ProcessEnv) {
  return (await ensureBinaries({ names: ['etcd'], step, env })).etcd;
}

describe('finding programs', () => {
  it('takes the path that the environment gives before anything else', async () => {
    const path = program(join(scratch, 'mine'), 'my-etcd', 'etcd Version: 3.5.0');
    program(join(scratch, 'bin'), 'etcd', 'etcd Version: 3.6.0');
    const env = environment({ ETCD_PATH: path });
    expect(await etcd(env)).toEqual({ path, version: '3.5.0', source: 'environment' });
  });

  it('refuses the path that the environment gives when it is no etcd, and looks no further', async () => {
    program(join(scratch, 'bin'), 'etcd', 'etcd Version: 3.6.0');
    const env = environment({ ETCD_PATH: program(join(scratch, 'mine'), 'etcd', 'hello') });
    await expect(etcd(env)).rejects.toThrow(/ETCD_PATH.*does not say a version/);
  });

  it('prefers the cache to PATH', async () => {
    const cached = program(binaryCache(environment()), `etcd-${ETCD}`, `etcd Version: ${ETCD}`);
    program(join(scratch, 'bin'), 'etcd', 'etcd Version: 3.7.0');
    expect(await etcd(environment())).toEqual({ path: cached, version: ETCD, source: 'cache' });
  });

  it('takes from PATH what is new enough', async () => {
    const path = program(join(scratch, 'bin'), 'etcd', 'etcd Version: 3.4.23');
    expect(await etcd(environment())).toEqual({ path, version: '3.4.23', source: 'path' });
    expect(steps).toEqual([]);
  });

  it('reads the version of the server in what the Temporal program says', async () => {
    const path = program(join(scratch, 'bin'), 'temporal', 'temporal version 0.0.0-DEV (Server 1.29.1, UI 2.42.1)');
    const { temporal } = await ensureBinaries({ names: ['temporal'], step, env: environment() });
    expect(temporal).toEqual({ path, version: '1.29.1', source: 'path' });
  });

  it('says every way that it tried, and what to do, when the program can not be had', async () => {
    program(join(scratch, 'bin'), 'etcd', 'etcd Version: 3.3.9');
    const failure = await etcd(environment()).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(BinaryError);
    const { message } = failure as BinaryError;
    expect(message).toContain('has version 3.3.9; 3.4.0 or newer is needed');
    expect(message).toContain("127.0.0.1:1 can't be reached");
    expect(message).toContain('Go is not installed');
    expect(message).toContain('apt-get install etcd-server');
    expect(message).toContain('STORAGEOS_ETCD_ENDPOINTS');
  });
});

describe('the official release of etcd', () => {
  let server: Server;
  let url: string;
  let files: Map<string, Buffer>;

  beforeEach(async () => {
    files = new Map();
    server = createServer((request, response) => {
      const body = files.get(request.url ?? '');
      response.writeHead(body === undefined ? 404 : 200).end(body);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });

  afterEach(() => server.close());

  function publish(sum: (archive: Buffer) => string): void {
    const folder = `etcd-v${ETCD}-linux-${process.arch === 'arm64' ? 'arm64' : 'amd64'}`;
    program(join(scratch, 'release', folder), 'etcd', `etcd Version: ${ETCD}`);
    execFileSync('tar', ['-czf', join(scratch, 'release.tar.gz'), '-C', join(scratch, 'release'), folder]);
    const archive = readFileSync(join(scratch, 'release.tar.gz'));
    files.set(`/v${ETCD}/${folder}.tar.gz`, archive);
    files.set(`/v${ETCD}/SHA256SUMS`, Buffer.from(`${sum(archive)}  ${folder}.tar.gz\n`));
  }

  it('is unpacked into the cache when its checksum is the published one', async () => {
    publish((archive) => createHash('sha256').update(archive).digest('hex'));
    const env = environment({ STORAGEOS_ETCD_RELEASES: url, PATH: process.env.PATH, ETCD_PATH: '' });
    // PATH has tar, and perhaps an etcd, which would be taken first.
    env.PATH = join(scratch, 'tools');
    program(env.PATH, 'tar', '');
    writeFileSync(join(env.PATH, 'tar'), '#!/bin/sh\nPATH=/usr/bin:/bin exec tar "$@"\n');
    const found = await etcd(env);
    expect(found).toEqual({ path: join(binaryCache(env), `etcd-${ETCD}`), version: ETCD, source: 'release' });
    server.close();
    expect((await etcd(env)).source).toBe('cache');
  });

  it('is refused when its checksum is another', async () => {
    publish(() => '0'.repeat(64));
    const env = environment({ STORAGEOS_ETCD_RELEASES: url });
    await expect(etcd(env)).rejects.toThrow(/has SHA-256 [0-9a-f]{64} where 0{64} was published/);
  });
});
