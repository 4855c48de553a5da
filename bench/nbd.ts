/**
 * The NBD frontend against nbdkit's, both over memory, and what the codec adds to it.
 *
 *   npm run bench -- nbd [--quick]
 *
 * One client for all (fio's NBD engine), one connection; every figure is the median of rounds in which the servers
 * take turns, every ratio the median of the rounds' ratios. Each server is a process of its own, so that its processor
 * time can be told from the client's.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type Comparison, compare, type Figures, type Side } from './data-path/compare.js';
import { type Load, runFio } from './data-path/fio.js';
import { cpuMsOf } from './processes.js';
import { saveResults } from './results.js';

const quick = process.argv.includes('--quick');
const ROUNDS = quick ? 3 : 5;
const SECONDS = quick ? 1 : 2;
const SIZE_BYTES = 128 << 20;
const READY_MS = 10_000;
const POLL_MS = 20;
const KIB = 1024;

const SHAPES: readonly { readonly blockBytes: number; readonly depth: number; readonly goal: number }[] = [
  { blockBytes: 4 * KIB, depth: 32, goal: 1.0 },
  { blockBytes: 4 * KIB, depth: 1, goal: 0.6 },
  { blockBytes: 128 * KIB, depth: 8, goal: 0.8 },
];
const OURS: readonly { readonly kind: string; readonly title: string; readonly hasGoal?: true }[] = [
  { kind: 'device', title: 'ours, memory', hasGoal: true },
  { kind: 'plain', title: 'ours, encoded' },
  { kind: 'native', title: 'ours, encrypted (native)' },
  { kind: 'wasm', title: 'ours, encrypted (wasm)' },
];

const directory = mkdtempSync(join(tmpdir(), 'nbd-'));
const processes: ChildProcess[] = [];

async function serve(title: string, command: string, args: readonly string[], socket: string): Promise<Side> {
  const child = spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  processes.push(child);
  const deadline = performance.now() + READY_MS;
  while (!existsSync(socket)) {
    if (child.exitCode !== null || performance.now() > deadline) throw new Error(`${command} does not serve`);
    await sleep(POLL_MS);
  }
  const { pid } = child;
  if (pid === undefined) throw new Error(`${command} cannot be started`);
  const side = { name: title, uri: `nbd+unix:///?socket=${socket}`, cpuMs: async () => cpuMsOf(pid) };
  // Memory that was never written would be read faster.
  await runFio(side.uri, {
    pattern: 'write',
    blockBytes: 256 * KIB,
    depth: 4,
    seconds: 'whole',
    sizeBytes: SIZE_BYTES,
  });
  return side;
}

function row({ name, iops, bytesPerSecond, cpuUs, latencyUs }: Figures): string {
  const speed = `${iops.toFixed(0).padStart(7)} IOPS ${(bytesPerSecond / 1e6).toFixed(0).padStart(5)} MB/s`;
  return `${name.padEnd(26)} ${speed}  ${cpuUs.toFixed(2).padStart(7)} µs CPU  p99 ${latencyUs.p99.toFixed(0)} µs`;
}

const results: Comparison[] = [];
try {
  const program = fileURLToPath(new URL('./nbd-server.js', import.meta.url));
  const nbdkitSocket = join(directory, 'nbdkit');
  const nbdkitArgs = ['-f', '-t', '1', '-U', nbdkitSocket, 'memory', String(SIZE_BYTES)];
  const peer = await serve('nbdkit memory, 1 thread', 'nbdkit', nbdkitArgs, nbdkitSocket);
  const ours: (Side & { readonly hasGoal: boolean })[] = [];
  for (const { kind, title, hasGoal = false } of OURS) {
    const socket = join(directory, kind);
    const args = [program, socket, String(SIZE_BYTES), kind];
    ours.push({ ...(await serve(title, process.execPath, args, socket)), hasGoal });
  }
  for (const { blockBytes, depth, goal } of SHAPES) {
    for (const pattern of ['randread', 'randwrite'] as const) {
      // Half of each block compresses away.
      const load: Load = { pattern, blockBytes, depth, seconds: SECONDS, sizeBytes: SIZE_BYTES, compressible: 50 };
      const what = `${blockBytes / KIB} KiB ${pattern}, depth ${depth}`;
      const sides = ours.map(({ hasGoal, ...side }) => (hasGoal ? { ...side, goal } : side));
      const compared = await compare(what, load, ROUNDS, sides, peer);
      console.log(`\n${what}\n  ${row(compared[0]!.peer)}`);
      for (const { ours: figures, ratio, goal: wanted } of compared) {
        const verdict = wanted === undefined ? '' : `, goal ${wanted}: ${ratio >= wanted ? 'reached' : 'missed'}`;
        console.log(`  ${row(figures)}  ratio ${ratio.toFixed(2)}${verdict}`);
      }
      results.push(...compared);
    }
  }
} finally {
  for (const child of processes) child.kill('SIGTERM');
  rmSync(directory, { recursive: true, force: true });
}

if (!quick) saveResults('nbd', { rounds: ROUNDS, seconds: SECONDS }, { results });
