/** The parts of `bench -- replication`. */

import { appendRun, type Run } from '../../test/setup/run-record.js';
import { measureCopies } from './copies.js';
import { measureDelta } from './delta.js';
import { type FailoverResult, type FaultKind, measureFailover } from './failover.js';
import { measureGossip } from './gossip.js';
import { type CopyFigures, measureForeground, measureRebuild } from './rebuild.js';

const MIB = 1024 * 1024;
const FAILOVERS = 50;
const QUICK_FAILOVERS = 3;
/** Of each kind of fault; a round takes half a minute. */
const GOSSIP_ROUNDS = 20;
/** Of volumes, bytes. */
const SIZES = [1, 10, 100].map((gib) => gib * 1024 * MIB);
const QUICK_SIZES = [256, 1024].map((mib) => mib * MIB);

export interface PartOptions {
  /** Where the data of all sides is put. */
  readonly place: string;
  readonly quick: boolean;
  /** Of failovers and of gossip; undefined: as many as the part thinks right. */
  readonly rounds?: number;
  /** Of comparisons with qemu: set-ups and loads whose title contains this. */
  readonly setup: string;
  readonly only: string;
  /** The user wants it to end: long parts do so with what they have. */
  readonly signal: AbortSignal;
  /** Where a line is left for docs/reliability.md; absent: nowhere. */
  readonly runFile?: string;
  /** Keeps what there is by now, of a part that takes long. */
  readonly keep: (results: object) => void;
}

/** Prints what it finds, and resolves to it. */
export type Part = (options: PartOptions) => Promise<object>;

export const PARTS = {
  kills: (options) => failover('kills', options),
  partitions: (options) => failover('partitions', options),
  gossip,
  delta,
  rebuild,
  foreground,
  copies: ({ place, quick, setup, only }) =>
    measureCopies(place, { rounds: quick ? 1 : 5, seconds: 1, sizeBytes: 128 * MIB, only }, setup),
} as const satisfies Readonly<Record<string, Part>>;

async function failover(kind: FaultKind, options: PartOptions): Promise<object> {
  const { place, quick, rounds, signal, runFile, keep } = options;
  const began = performance.now();
  const wanted = rounds ?? (quick ? QUICK_FAILOVERS : FAILOVERS);
  const told = (sofar: FailoverResult): void => {
    const seconds = ((sofar.each.at(-1) ?? 0) / 1000).toFixed(2);
    console.log(`  ${sofar.rounds} of ${wanted}: ${seconds} s${sofar.errors > 0 ? `, ${sofar.errors} errors` : ''}`);
    keep(sofar);
  };
  const result = await measureFailover({ kind, rounds: wanted, place, signal, told });
  const { pauseMs, writePauseMs, errors, goal } = result;
  const reached = pauseMs.median <= goal.median && pauseMs.max <= goal.max && errors === 0;
  console.table({ 'no answer, ms': pauseMs, 'no write, ms': writePauseMs, 'goal, ms': goal });
  console.log(`${errors} errors; goal ${reached ? 'reached' : 'missed'}`);
  if (runFile !== undefined) appendRun(runFile, runOf(kind, result, (performance.now() - began) / 1000));
  return result;
}

async function gossip({ place, quick, rounds, signal }: PartOptions): Promise<object> {
  const result = await measureGossip({
    rounds: rounds ?? (quick ? QUICK_FAILOVERS : GOSSIP_ROUNDS),
    place,
    signal,
    told: (fault, { firstMs, allMs }) => console.log(`  ${fault}: ${firstMs} ms, all ${allMs} ms`),
  });
  const rows = Object.entries(result.detection).flatMap(([what, { firstMs, allMs }]) => [
    { what, 'is known to': 'the first', ...firstMs },
    { what, 'is known to': 'all', ...allMs },
  ]);
  console.table(rows);
  const { suspicions, falseDeaths, rumouredDeaths, watchedMs } = result;
  const time = `${(watchedMs / 60_000).toFixed(1)} minutes of agents`;
  console.log(`${falseDeaths} false deaths and ${suspicions} suspicions in ${time}, and ${rumouredDeaths} on hearsay`);
  return result;
}

function runOf(kind: FaultKind, { rounds, failedRounds, pauseMs, goal }: FailoverResult, seconds: number): Run {
  const columns = ['rounds', 'median', '95 of 100 at most', 'longest', 'goal: median', 'goal: longest'];
  const row = [rounds, pauseMs.median, pauseMs.p95, pauseMs.max, goal.median, goal.max];
  return {
    kind: 'failover',
    command: `npm run bench -- replication --part ${kind} --rounds ${rounds}`,
    seconds: Math.round(seconds),
    counts: { [kind]: rounds },
    failures: failedRounds,
    table: { title: `Pause that a client sees, ms: ${kind}`, columns, rows: [row] },
  };
}

async function delta({ place, quick, keep }: PartOptions): Promise<object> {
  const result = await measureDelta(quick ? QUICK_SIZES : SIZES, place, (sofar) => {
    keep(sofar);
    const { volumeGib, changedPercent, changedMib, copiedPerChanged, seconds } = sofar.rows.at(-1)!;
    const change = `${changedMib.toFixed(1)} MiB (${changedPercent.toFixed(2)} %)`;
    const cost = `${copiedPerChanged.toFixed(3)} of it copied in ${seconds.toFixed(2)} s`;
    console.log(`  ${volumeGib} GiB, ${change} changed: ${cost}`);
  });
  const { rows, largestToSmallest, goal } = result;
  const worst = Math.max(...rows.map(({ copiedPerChanged }) => copiedPerChanged));
  console.log(`copied per changed byte: ${verdict(worst, goal.copiedPerChanged, 'at most')}`);
  console.log(
    `the same change, largest to smallest volume: ${verdict(largestToSmallest, goal.largestToSmallest, 'at most')}`,
  );
  return result;
}

async function rebuild({ place, quick }: PartOptions): Promise<object> {
  const result = await measureRebuild({ place, sizeBytes: (quick ? 256 : 1024) * MIB, rounds: quick ? 3 : 5 });
  const { ours, nbdcopy, ratio, goal } = result;
  const of = ({ bytesPerSecond, cpuMsPerMib }: CopyFigures): string =>
    `${(bytesPerSecond / 1e6).toFixed(0)} MB/s with ${cpuMsPerMib.toFixed(2)} ms CPU per MiB`;
  console.log(`rebuild ${of(ours)}, nbdcopy ${of(nbdcopy)}; ratio ${verdict(ratio, goal, 'at least')}`);
  return result;
}

async function foreground({ place, quick }: PartOptions): Promise<object> {
  const result = await measureForeground({ place, sizeBytes: (quick ? 256 : 1024) * MIB, rounds: quick ? 3 : 5 });
  const { alone, rebuilding, p99Ratio, rebuildRate } = result;
  console.table({ alone, rebuilding });
  console.log(`p99 ${p99Ratio.toFixed(2)} times as long beside a rebuild of ${(rebuildRate / 1e6).toFixed(0)} MB/s`);
  return result;
}

function verdict(value: number, goal: number, kind: 'at least' | 'at most'): string {
  const reached = kind === 'at least' ? value >= goal : value <= goal;
  return `${value.toFixed(3)}, goal ${kind} ${goal}: ${reached ? 'reached' : 'missed'}`;
}
