/**
 * The ways to obtain etcd and the Temporal server. Each puts a whole, executable file at `target` by rename, or
 * rejects; undefined means that this way is not open here (another system, no Go, not root).
 */

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { findOnPath } from './binaries.js';
import { compiled } from './package-root.js';

const ETCD_VERSION = '3.6.16';
const TEMPORAL_MODULE = 'github.com/temporalio/cli/cmd/temporal@v1.5.1';
const ETCD_MODULE = 'go.etcd.io/etcd/server/v3';
const ETCD_RELEASES = 'https://github.com/etcd-io/etcd/releases/download';
const TEMPORAL_RELEASES = 'https://temporal.download/';
const TEMPORAL_RELEASE = 'v1.5.1';

const REACH_TIMEOUT_MS = 3_000;
const DOWNLOAD_TIMEOUT_MS = 180_000;
const BUILD_TIMEOUT_MS = 20 * 60_000;
const APT_TIMEOUT_MS = 10 * 60_000;
const MAX_RELEASE_BYTES = 200 << 20;
const MAX_TAIL_CHARACTERS = 2_000;

/** Runs a program to its end; rejects with the last of its output. */
function run(
  command: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly env: NodeJS.ProcessEnv; readonly timeoutMs: number },
): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      ...(options.cwd !== undefined && { cwd: options.cwd }),
      env: options.env,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: options.timeoutMs,
    });
    let tail = '';
    const keep = (chunk: Buffer): void => {
      tail = (tail + chunk.toString('utf8')).slice(-MAX_TAIL_CHARACTERS);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve();
      else reject(new Error(`"${command} ${args.join(' ')}" failed: ${tail.trim().split('\n').slice(-3).join(' / ')}`));
    });
  });
}

async function withScratch<T>(target: string, work: (scratch: string) => Promise<T>): Promise<T> {
  // Beside the target, so that the rename into place stays within one filesystem.
  const scratch = mkdtempSync(join(dirname(target), '.obtain-'));
  try {
    return await work(scratch);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

async function get(url: string, timeoutMs: number): Promise<Buffer> {
  const response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs) });
  if (!response.ok) throw new Error(`${url}: HTTP ${response.status}`);
  if (Number(response.headers.get('content-length') ?? 0) > MAX_RELEASE_BYTES) throw new Error(`${url}: too large`);
  return Buffer.from(await response.arrayBuffer());
}

async function reachable(url: string): Promise<void> {
  await fetch(url, { method: 'HEAD', signal: AbortSignal.timeout(REACH_TIMEOUT_MS) }).catch((error: unknown) => {
    const cause = (error as { cause?: { code?: string } }).cause?.code ?? (error as Error).name;
    throw new Error(`${new URL(url).host} can't be reached (${cause})`);
  });
}

/** The archive for this machine, checked against the SHA256SUMS that are published beside it. */
export async function downloadEtcd(target: string, env: NodeJS.ProcessEnv): Promise<string | undefined> {
  const architecture = { x64: 'amd64', arm64: 'arm64' }[process.arch as string];
  if (process.platform !== 'linux' || architecture === undefined) return undefined;
  const base = `${env.STORAGEOS_ETCD_RELEASES || ETCD_RELEASES}/v${ETCD_VERSION}`;
  const folder = `etcd-v${ETCD_VERSION}-linux-${architecture}`;
  const archive = `${folder}.tar.gz`;
  await reachable(`${base}/SHA256SUMS`);
  const sums = (await get(`${base}/SHA256SUMS`, REACH_TIMEOUT_MS * 3)).toString('utf8');
  const wanted = new RegExp(`^([0-9a-f]{64}) [ *]${archive.replaceAll('.', '\\.')}$`, 'm').exec(sums)?.[1];
  if (wanted === undefined) throw new Error(`SHA256SUMS does not list ${archive}`);
  const bytes = await get(`${base}/${archive}`, DOWNLOAD_TIMEOUT_MS);
  const got = createHash('sha256').update(bytes).digest('hex');
  if (got !== wanted) throw new Error(`${archive} has SHA-256 ${got} where ${wanted} was published`);
  return await withScratch(target, async (scratch) => {
    writeFileSync(join(scratch, archive), bytes);
    await run('tar', ['-xzf', archive, `${folder}/etcd`], { cwd: scratch, env, timeoutMs: DOWNLOAD_TIMEOUT_MS });
    renameSync(join(scratch, folder, 'etcd'), target);
    return target;
  });
}

/** Through the SDK's own download, in a process of its own that can be given up. */
export async function downloadTemporal(target: string, env: NodeJS.ProcessEnv): Promise<string | undefined> {
  await reachable(TEMPORAL_RELEASES);
  return await withScratch(target, async (scratch) => {
    const program = compiled('cluster', 'download-temporal.js');
    await run(process.execPath, [program, TEMPORAL_RELEASE, scratch], { env, timeoutMs: DOWNLOAD_TIMEOUT_MS });
    const downloaded = readdirSync(scratch).find((name) => name.startsWith('temporal'));
    if (downloaded === undefined) throw new Error('the SDK downloaded no server');
    chmodSync(join(scratch, downloaded), 0o755);
    renameSync(join(scratch, downloaded), target);
    return target;
  });
}

export async function buildTemporal(target: string, env: NodeJS.ProcessEnv): Promise<string | undefined> {
  if (findOnPath('go', env) === undefined) throw new Error('Go is not installed');
  return await withScratch(target, async (scratch) => {
    await run('go', ['install', TEMPORAL_MODULE], {
      env: { ...env, GOBIN: scratch, CGO_ENABLED: '0' },
      timeoutMs: BUILD_TIMEOUT_MS,
    });
    renameSync(join(scratch, 'temporal'), target);
    return target;
  });
}

/** In a scratch module: the server's own go.mod has replace directives, which `go install` refuses. */
export async function buildEtcd(target: string, env: NodeJS.ProcessEnv): Promise<string | undefined> {
  if (findOnPath('go', env) === undefined) throw new Error('Go is not installed');
  return await withScratch(target, async (scratch) => {
    const options = { cwd: scratch, env: { ...env, CGO_ENABLED: '0' }, timeoutMs: BUILD_TIMEOUT_MS };
    await run('go', ['mod', 'init', 'etcd-build'], options);
    await run('go', ['get', `${ETCD_MODULE}@v${ETCD_VERSION}`], options);
    await run('go', ['build', '-o', 'etcd', ETCD_MODULE], options);
    renameSync(join(scratch, 'etcd'), target);
    return target;
  });
}

export async function installEtcdPackage(_target: string, env: NodeJS.ProcessEnv): Promise<string | undefined> {
  if (process.getuid?.() !== 0 || findOnPath('apt-get', env) === undefined) return undefined;
  const options = { env: { ...env, DEBIAN_FRONTEND: 'noninteractive' }, timeoutMs: APT_TIMEOUT_MS };
  const install = ['install', '-y', '-q', '-o', 'DPkg::Lock::Timeout=300', '--no-install-recommends', 'etcd-server'];
  await run('apt-get', install, options).catch(async () => {
    await run('apt-get', ['update'], options);
    await run('apt-get', install, options);
  });
  return findOnPath('etcd', env);
}
