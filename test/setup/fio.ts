/** fio with its nbd engine on a volume's socket, writing blocks that say where they belong and verifying them. */

import { type ChildProcess, spawn } from 'node:child_process';

const MAX_OUTPUT_CHARACTERS = 64 * 1024;
/** fio's nbd engine spins for ever on a connection that was lost. */
const TIMEOUT_MS = 240_000;

export interface FioJob {
  readonly uri: string;
  /** Bytes of the volume that it uses, from `offset` on. */
  readonly size: string;
  readonly offset?: string;
  /** Writes per second. */
  readonly rateIops?: number;
  readonly iodepth?: number;
  readonly blockSize?: string;
  /**
   * `verify` reads only what an earlier `write` with the same size and seed wrote. The others' blocks are random, and
   * nothing tells a later run which of two runs wrote one (its own verification does).
   */
  readonly mode?: 'write-and-verify' | 'write' | 'verify';
  /** Different seeds write different blocks. */
  readonly seed?: number;
}

export interface FioRun {
  readonly process: ChildProcess;
  /** Resolves when fio has ended without an error; rejects with what it said. */
  readonly done: Promise<string>;
}

export function startFio(job: FioJob): FioRun {
  const { mode = 'write-and-verify', seed = 1 } = job;
  const named = ['--verify=pattern', `--verify_pattern=%o"seed${seed}"`];
  const args = [
    ...[
      '--name=blocks',
      '--thread',
      '--ioengine=nbd',
      `--uri=${job.uri}`,
      '--rw=randwrite',
      `--bs=${job.blockSize ?? '4k'}`,
    ],
    ...[`--size=${job.size}`, `--offset=${job.offset ?? '0'}`, `--iodepth=${job.iodepth ?? 16}`],
    ...(mode === 'write-and-verify' ? ['--verify=crc32c'] : named),
    ...['--verify_fatal=1', '--serialize_overlap=1', '--end_fsync=1', '--verify_state_save=0'],
    `--randseed=${seed}`,
    ...(job.rateIops === undefined ? [] : [`--rate_iops=${job.rateIops}`]),
    ...(mode === 'write' ? ['--do_verify=0'] : []),
    ...(mode === 'verify' ? ['--verify_only=1'] : []),
  ];
  const child = spawn('fio', args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: TIMEOUT_MS, killSignal: 'SIGKILL' });
  let output = '';
  const keep = (chunk: Buffer): void => {
    output = (output + chunk.toString('utf8')).slice(-MAX_OUTPUT_CHARACTERS);
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  const done = new Promise<string>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      if (code === 0 && !/verify:|err=\s*[1-9]/.test(output)) resolve(output);
      else reject(new Error(`fio ${args.join(' ')} ended with ${signal ?? code}:\n${output}`));
    });
  });
  // Whoever started it looks at the outcome later.
  done.catch(() => undefined);
  return { process: child, done };
}

export function runFio(job: FioJob): Promise<string> {
  return startFio(job).done;
}
