/** One client for every server: fio's NBD engine (libnbd), one connection. */

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);
const NS_PER_US = 1000;
const MS_PER_S = 1000;
const MAX_OUTPUT_BYTES = 16 << 20;

export interface Load {
  readonly pattern: 'read' | 'write' | 'randread' | 'randwrite';
  readonly blockBytes: number;
  readonly depth: number;
  /** A flush behind so many writes; absent: none. */
  readonly flushEvery?: number;
  /** Ends after so long, or, `whole`, after one pass over the volume. */
  readonly seconds: number | 'whole';
  readonly sizeBytes: number;
  /** How long writes go on before they are measured, on every side; 0, the default: not at all. */
  readonly runUpSeconds?: number;
  /** Part of a buffer that compresses away, per cent; 0, the default, is incompressible. */
  readonly compressible?: number;
}

export interface Measured {
  readonly iops: number;
  readonly bytesPerSecond: number;
  readonly operations: number;
  /** Of an operation, microseconds. */
  readonly latencyUs: { readonly p50: number; readonly p99: number; readonly p999: number; readonly max: number };
}

/** Errors: fio's own, with what it said; also if any request fails. */
export async function runFio(uri: string, load: Load): Promise<Measured> {
  const { pattern, blockBytes, depth, flushEvery, seconds, sizeBytes, compressible = 0 } = load;
  const args = [
    ...['--name=bench', '--ioengine=nbd', `--uri=${uri}`, '--output-format=json', '--randrepeat=0', '--norandommap'],
    ...[`--rw=${pattern}`, `--bs=${blockBytes}`, `--iodepth=${depth}`, `--size=${sizeBytes}`],
    ...['--refill_buffers=0', `--buffer_compress_percentage=${compressible}`],
    ...(flushEvery === undefined ? [] : [`--fsync=${flushEvery}`]),
    ...(seconds === 'whole' ? [] : ['--time_based', `--runtime=${Math.round(seconds * MS_PER_S)}ms`]),
    ...['--percentile_list=50:99:99.9'],
  ];
  const { stdout } = await run('fio', args, { maxBuffer: MAX_OUTPUT_BYTES });
  // fio may say something before its report.
  const report = JSON.parse(stdout.slice(stdout.indexOf('{'))) as { readonly jobs: readonly Job[] };
  const [job] = report.jobs;
  if (job === undefined || job.error !== 0) throw new Error(`fio: error ${job?.error} at ${uri}`);
  const side = pattern.endsWith('read') ? job.read : job.write;
  const { percentile } = side.clat_ns;
  const us = (name: string): number => (percentile?.[name] ?? 0) / NS_PER_US;
  return {
    iops: side.iops,
    bytesPerSecond: side.bw_bytes,
    operations: side.total_ios,
    latencyUs: { p50: us('50.000000'), p99: us('99.000000'), p999: us('99.900000'), max: side.clat_ns.max / NS_PER_US },
  };
}

interface Side {
  readonly iops: number;
  readonly bw_bytes: number;
  readonly total_ios: number;
  readonly clat_ns: { readonly max: number; readonly percentile?: Readonly<Record<string, number>> };
}

interface Job {
  readonly error: number;
  readonly read: Side;
  readonly write: Side;
}
