/** Interleaved rounds of the same load on several servers, and what they come to. */

import { type Load, type Measured, runFio } from './fio.js';

export interface Side {
  readonly name: string;
  readonly uri: string;
  /** Processor time of the server so far, milliseconds. */
  cpuMs(): Promise<number>;
  /**
   * Bytes that the server has made the kernel write, or still to be written, so far. Not of one that overwrites a file
   * in place: Linux counts the whole of a large folio each time that a part of it is written to.
   */
  writtenBytes?(): Promise<number>;
}

export interface Figures {
  readonly name: string;
  readonly iops: number;
  readonly bytesPerSecond: number;
  /** Of the server, microseconds per operation. */
  readonly cpuUs: number;
  /** Bytes for the disk for each that was written; of writes, where the server can be asked. */
  readonly writeAmplification?: number;
  readonly latencyUs: Measured['latencyUs'];
}

export interface Comparison {
  readonly load: string;
  readonly goal?: number;
  /** Medians of the rounds. */
  readonly ours: Figures;
  readonly peer: Figures;
  /** Of operations per second, ours to the peer's: the median of the rounds' ratios. */
  readonly ratio: number;
}

export const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

const US_PER_MS = 1000;

async function measure(side: Side, load: Load): Promise<Figures> {
  const { pattern, runUpSeconds = 0 } = load;
  const writes = pattern.endsWith('write');
  if (writes && runUpSeconds > 0) await runFio(side.uri, { ...load, seconds: runUpSeconds });
  const written = await side.writtenBytes?.();
  const before = await side.cpuMs();
  const { iops, bytesPerSecond, operations, latencyUs } = await runFio(side.uri, load);
  const cpuUs = (((await side.cpuMs()) - before) * US_PER_MS) / operations;
  const figures = { name: side.name, iops, bytesPerSecond, cpuUs, latencyUs };
  if (!writes || written === undefined) return figures;
  const bytes = (await side.writtenBytes!()) - written;
  return { ...figures, writeAmplification: bytes / (operations * load.blockBytes) };
}

function middle(rounds: readonly Figures[]): Figures {
  const of = (pick: (figures: Figures) => number): number => median(rounds.map(pick));
  return {
    name: rounds[0]!.name,
    iops: of(({ iops }) => iops),
    bytesPerSecond: of(({ bytesPerSecond }) => bytesPerSecond),
    cpuUs: of(({ cpuUs }) => cpuUs),
    ...(rounds[0]?.writeAmplification !== undefined && {
      writeAmplification: of(({ writeAmplification }) => writeAmplification ?? Number.NaN),
    }),
    latencyUs: {
      p50: of(({ latencyUs }) => latencyUs.p50),
      p99: of(({ latencyUs }) => latencyUs.p99),
      p999: of(({ latencyUs }) => latencyUs.p999),
      max: of(({ latencyUs }) => latencyUs.max),
    },
  };
}

/** Each of `ours` against `peer`: in every round each of them once, whoever was first in one is last in the next. */
export async function compare(
  what: string,
  load: Load,
  rounds: number,
  ours: readonly (Side & { readonly goal?: number })[],
  peer: Side,
): Promise<Comparison[]> {
  const sides = [...ours, peer];
  const results = sides.map((): Figures[] => []);
  for (let round = 0; round < rounds; round++) {
    const order = sides.map((_, i) => (round % 2 === 0 ? i : sides.length - 1 - i));
    for (const i of order) results[i]!.push(await measure(sides[i]!, load));
  }
  const theirs = results.at(-1)!;
  return ours.map(({ goal }, i) => ({
    load: what,
    ...(goal !== undefined && { goal }),
    ours: middle(results[i]!),
    peer: middle(theirs),
    ratio: median(results[i]!.map(({ iops }, round) => iops / theirs[round]!.iops)),
  }));
}

const MB = 1e6;

function verdict(ratio: number, goal: number | undefined): string {
  if (goal === undefined) return '';
  return ratio >= goal ? `, goal ${goal.toFixed(1)} reached` : `, goal ${goal.toFixed(1)}`;
}

/** A row for console.table. */
export function row({ load, ours, peer, ratio, goal }: Comparison): Readonly<Record<string, string>> {
  const rate = ({ iops, bytesPerSecond }: Figures): string =>
    `${Math.round(iops)}/s, ${(bytesPerSecond / MB).toFixed(0)} MB/s`;
  const cost = ({ cpuUs }: Figures): string => cpuUs.toFixed(1);
  const amplification = ({ writeAmplification }: Figures): string => writeAmplification?.toFixed(2) ?? '–';
  const latency = ({ latencyUs: { p50, p99, p999 } }: Figures): string =>
    [p50, p99, p999].map((us) => us.toFixed(0)).join(' / ');
  return {
    load,
    ours: `${ours.name}: ${rate(ours)}`,
    peer: `${peer.name}: ${rate(peer)}`,
    ratio: `${ratio.toFixed(2)}${verdict(ratio, goal)}`,
    'CPU µs per op, ours / peer': `${cost(ours)} / ${cost(peer)}`,
    'written to disk / by user': amplification(ours),
    'latency p50 / p99 / p99.9 µs, ours': latency(ours),
    'the same, peer': latency(peer),
  };
}
