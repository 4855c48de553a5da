/**
 * Finds or obtains the programs that the embedded cluster runs beside the agents: etcd and the Temporal server.
 * In this order: a path given by environment; the cache; PATH; the official release; a build from Go modules
 * into the cache; for root, the distribution's package. Each found program is asked for its version.
 */

import { execFile } from 'node:child_process';
import { accessSync, constants, mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { buildEtcd, buildTemporal, downloadEtcd, downloadTemporal, installEtcdPackage } from './binary-sources.js';

const execFileAsync = promisify(execFile);
const VERSION_TIMEOUT_MS = 10_000;

export type BinaryName = 'etcd' | 'temporal';

/** Where a program came from. */
export type BinarySource = 'environment' | 'cache' | 'path' | 'release' | 'go' | 'package';

export interface Binary {
  readonly path: string;
  readonly version: string;
  readonly source: BinarySource;
}

/** Shows progress: runs `work` under a name. */
export type Step = <T>(name: string, work: () => Promise<T>) => Promise<T>;

export interface BinaryOptions {
  readonly names: readonly BinaryName[];
  readonly step: Step;
  readonly env?: NodeJS.ProcessEnv;
}

/** A program that can't be had; the message says every way that was tried and what the user can do. */
export class BinaryError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'BinaryError';
  }
}

interface Obtainer {
  readonly source: BinarySource;
  readonly title: string;
  /** Puts the program at `target`, or resolves to where it is; undefined if this way is not open here. */
  readonly obtain: (target: string, env: NodeJS.ProcessEnv) => Promise<string | undefined>;
}

interface Specification {
  /** The version that is obtained when none is there. */
  readonly version: string;
  /** Oldest version that is accepted, compared with what `versionPattern` finds. */
  readonly minimum: string;
  readonly versionPattern: RegExp;
  readonly pathVariable: string;
  readonly obtainers: readonly Obtainer[];
  readonly advice: string;
}

const SPECIFICATIONS: Readonly<Record<BinaryName, Specification>> = {
  etcd: {
    version: '3.6.16',
    minimum: '3.4.0',
    versionPattern: /etcd Version: (\d+\.\d+\.\d+)/,
    pathVariable: 'ETCD_PATH',
    obtainers: [
      { source: 'release', title: 'etcd: official release', obtain: downloadEtcd },
      { source: 'go', title: 'etcd: build with Go (1–3 minutes)', obtain: buildEtcd },
      { source: 'package', title: 'etcd: apt-get install etcd-server', obtain: installEtcdPackage },
    ],
    advice:
      'Install it with "sudo apt-get install etcd-server", or install Go and start again, or set ETCD_PATH to the ' +
      'program, or set STORAGEOS_ETCD_ENDPOINTS=host:port,… to use a running etcd.',
  },
  temporal: {
    version: '1.5.1',
    minimum: '1.29.0',
    versionPattern: /Server (\d+\.\d+\.\d+)/,
    pathVariable: 'TEMPORAL_PATH',
    obtainers: [
      { source: 'release', title: 'Temporal server: official release', obtain: downloadTemporal },
      { source: 'go', title: 'Temporal server: build with Go (2–5 minutes)', obtain: buildTemporal },
    ],
    advice:
      'No distribution packages it: install Go ("sudo apt-get install golang", 1.24 or newer) and start again, or set ' +
      'TEMPORAL_PATH to the "temporal" program, or set TEMPORAL_ADDRESS=host:port to use a running server.',
  },
};

function compareVersions(a: string, b: string): number {
  const [left, right] = [a.split('.').map(Number), b.split('.').map(Number)];
  for (let i = 0; i < 3; i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Folder of obtained programs: `$XDG_CACHE_HOME/storageos/bin`, by default below `~/.cache`. */
export function binaryCache(env: NodeJS.ProcessEnv = process.env): string {
  return join(env.XDG_CACHE_HOME || join(env.HOME || homedir(), '.cache'), 'storageos', 'bin');
}

/** Path of an executable in PATH. */
export function findOnPath(program: string, env: NodeJS.ProcessEnv = process.env): string | undefined {
  for (const folder of (env.PATH ?? '').split(delimiter).filter((part) => part !== '')) {
    const candidate = join(folder, program);
    try {
      accessSync(candidate, constants.X_OK);
      return candidate;
    } catch {
      // not in this folder
    }
  }
  return undefined;
}

/** The version that a program says it has; a string that explains why it can't be used, otherwise. */
async function probe(path: string, specification: Specification): Promise<{ version: string } | { unfit: string }> {
  let output: string;
  try {
    output = (await execFileAsync(path, ['--version'], { timeout: VERSION_TIMEOUT_MS })).stdout;
  } catch (error) {
    return { unfit: `${path} can't be run: ${(error as Error).message.split('\n')[0]}` };
  }
  const version = specification.versionPattern.exec(output)?.[1];
  if (version === undefined) return { unfit: `${path} does not say a version that is understood` };
  if (compareVersions(version, specification.minimum) < 0) {
    return { unfit: `${path} has version ${version}; ${specification.minimum} or newer is needed` };
  }
  return { version };
}

async function ensureBinary(name: BinaryName, step: Step, env: NodeJS.ProcessEnv): Promise<Binary> {
  const specification = SPECIFICATIONS[name];
  const tried: string[] = [];
  const accept = async (path: string, source: BinarySource): Promise<Binary | undefined> => {
    const result = await probe(path, specification);
    if ('version' in result) return { path, version: result.version, source };
    tried.push(result.unfit);
    return undefined;
  };

  const explicit = env[specification.pathVariable];
  if (explicit) {
    const found = await accept(explicit, 'environment');
    if (found !== undefined) return found;
    throw new BinaryError(`${specification.pathVariable}: ${tried.join('; ')}`);
  }

  const cache = binaryCache(env);
  const cached = join(cache, `${name}-${specification.version}`);
  const onPath = findOnPath(name, env);
  const inCache = findOnPath(`${name}-${specification.version}`, { PATH: cache });
  if (inCache !== undefined) {
    const found = await accept(inCache, 'cache');
    if (found !== undefined) return found;
  }
  if (onPath !== undefined) {
    const found = await accept(onPath, 'path');
    if (found !== undefined) return found;
  }

  mkdirSync(cache, { recursive: true });
  for (const { source, title, obtain } of specification.obtainers) {
    try {
      const found = await step(title, async () => {
        const path = await obtain(cached, env);
        return path === undefined ? undefined : await accept(path, source);
      });
      if (found !== undefined) return found;
    } catch (error) {
      tried.push(`${title}: ${(error as Error).message}`);
    }
  }
  const attempts = tried.map((line) => `  - ${line}\n`).join('');
  throw new BinaryError(
    `The program "${name}" is missing and could not be obtained.\n${attempts}${specification.advice}`,
  );
}

/** Errors: BinaryError. */
export async function ensureBinaries<N extends BinaryName>(options: {
  readonly names: readonly N[];
  readonly step: Step;
  readonly env?: NodeJS.ProcessEnv;
}): Promise<Record<N, Binary>> {
  const found = {} as Record<N, Binary>;
  // One after the other: each build uses every processor.
  for (const name of options.names) found[name] = await ensureBinary(name, options.step, options.env ?? process.env);
  return found;
}
