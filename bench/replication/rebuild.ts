/**
 * Rebuilds: a volume full of data that does not compress gets a copy on another node. How fast, beside nbdcopy between
 * two plain servers; and what the volume's users notice.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type BenchVolume, Cluster } from '../data-path/cluster.js';
import { median } from '../data-path/compare.js';
import { runFio } from '../data-path/fio.js';
import { startClient } from './client-process.js';
import type { IoReport } from './io-client.js';
import { type Cost, PlainServers } from './nbdcopy.js';

const MIB = 1 << 20;
/** Where the copy is made. */
const TARGET = 1;
const GOAL = 0.7;
/** About a thousand requests a second, if they are answered at once. */
const LOAD = { depth: 8, restMs: 7 };
/** The users' latency without a rebuild is measured for so long, and what a rebuild has left behind is let pass, ms. */
const ALONE_MS = 5_000;
const SETTLING_MS = 1_500;

export interface RebuildOptions {
  readonly sizeBytes: number;
  readonly rounds: number;
  /** Where the data is put. */
  readonly place: string;
}

export interface RebuildResult {
  readonly volumeMib: number;
  readonly goal: number;
  readonly ours: CopyFigures;
  readonly nbdcopy: CopyFigures;
  /** Of the rates, ours to nbdcopy's: the median of the rounds' ratios. */
  readonly ratio: number;
}

/** Medians of the rounds. */
export interface CopyFigures {
  readonly bytesPerSecond: number;
  readonly cpuMsPerMib: number;
}

export interface ForegroundResult {
  readonly volumeMib: number;
  /** Medians of the rounds: requests per second, and their latency, ms. */
  readonly alone: Foreground;
  readonly rebuilding: Foreground;
  /** Of p99, with a rebuild to without: the median of the rounds' ratios. */
  readonly p99Ratio: number;
  /** Of the rebuilds beside these users, bytes per second. */
  readonly rebuildRate: number;
}

interface Foreground {
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
  readonly longestPauseMs: number;
}

/** A full volume without a replica, on a cluster that has a node for one. */
async function withFullVolume<T>(
  { sizeBytes, place }: RebuildOptions,
  use: (cluster: Cluster, volume: BenchVolume, directory: string) => Promise<T>,
): Promise<T> {
  const directory = mkdtempSync(join(place, 'bench-rebuild-'));
  const cluster = await Cluster.start({ directory, nodes: 2 });
  try {
    const volume = await cluster.createVolume({ sizeBytes, replicas: 0, encryption: false, compression: true });
    await fill(volume.uri, sizeBytes);
    return await use(cluster, volume, directory);
  } finally {
    await cluster.stop();
    rmSync(directory, { recursive: true });
  }
}

async function fill(uri: string, sizeBytes: number): Promise<void> {
  await runFio(uri, { pattern: 'write', blockBytes: MIB, depth: 4, seconds: 'whole', sizeBytes });
}

/** In every round each side once, and the other one first. */
export function measureRebuild(options: RebuildOptions): Promise<RebuildResult> {
  const { sizeBytes, rounds } = options;
  return withFullVolume(options, async (cluster, { id }, directory) => {
    const peer = await PlainServers.start(directory, sizeBytes);
    try {
      await fill(peer.sourceUri, sizeBytes);
      const ours: Cost[] = [];
      const theirs: Cost[] = [];
      const rebuild = async (): Promise<void> => {
        const before = await cluster.cpuMs();
        const { tookMs } = await cluster.sync(id, TARGET);
        ours.push({ tookMs, cpuMs: (await cluster.cpuMs()) - before });
        await cluster.dropCopy(id, TARGET);
      };
      const copy = async (): Promise<void> => {
        theirs.push(await peer.copy());
      };
      for (let round = 0; round < rounds; round++) {
        for (const side of round % 2 === 0 ? [rebuild, copy] : [copy, rebuild]) await side();
      }
      return {
        volumeMib: sizeBytes / MIB,
        goal: GOAL,
        ours: figures(sizeBytes, ours),
        nbdcopy: figures(sizeBytes, theirs),
        ratio: median(ours.map(({ tookMs }, round) => theirs[round]!.tookMs / tookMs)),
      };
    } finally {
      await peer.stop();
    }
  });
}

function figures(sizeBytes: number, rounds: readonly Cost[]): CopyFigures {
  return {
    bytesPerSecond: median(rounds.map(({ tookMs }) => (sizeBytes * 1000) / tookMs)),
    cpuMsPerMib: median(rounds.map(({ cpuMs }) => (cpuMs * MIB) / sizeBytes)),
  };
}

/** Users of the volume while it gets a copy, and while it does not. */
export function measureForeground(options: RebuildOptions): Promise<ForegroundResult> {
  const { sizeBytes, rounds } = options;
  return withFullVolume(options, async (cluster, { id, uri }) => {
    const { remote, end } = await startClient({ uri, ...LOAD });
    try {
      const observe = async (what: () => Promise<unknown>): Promise<Foreground> => {
        await remote.mark();
        const began = performance.now();
        await what();
        return foreground(await remote.report(), performance.now() - began);
      };
      const alone: Foreground[] = [];
      const rebuilding: Foreground[] = [];
      const rates: number[] = [];
      for (let round = 0; round < rounds; round++) {
        await sleep(SETTLING_MS);
        alone.push(await observe(() => sleep(ALONE_MS)));
        rebuilding.push(
          await observe(async () => {
            const { tookMs } = await cluster.sync(id, TARGET);
            rates.push((sizeBytes * 1000) / tookMs);
          }),
        );
        await cluster.dropCopy(id, TARGET);
      }
      return {
        volumeMib: sizeBytes / MIB,
        alone: middle(alone),
        rebuilding: middle(rebuilding),
        p99Ratio: median(rebuilding.map(({ p99 }, round) => p99 / alone[round]!.p99)),
        rebuildRate: median(rates),
      };
    } finally {
      await end();
    }
  });
}

function foreground({ completed, errors, pauseMs, latencyMs }: IoReport, tookMs: number): Foreground {
  if (errors > 0) throw new Error(`${errors} requests have failed`);
  return { perSecond: (completed * 1000) / tookMs, ...latencyMs, longestPauseMs: pauseMs };
}

function middle(rounds: readonly Foreground[]): Foreground {
  const of = (pick: (figures: Foreground) => number): number => median(rounds.map(pick));
  return {
    perSecond: of(({ perSecond }) => perSecond),
    p50: of(({ p50 }) => p50),
    p99: of(({ p99 }) => p99),
    longestPauseMs: of(({ longestPauseMs }) => longestPauseMs),
  };
}
