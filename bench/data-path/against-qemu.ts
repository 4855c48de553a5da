/** Volumes of a cluster beside qemu's servers, under the same loads by the same client. */

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { CipherEngine } from '../../node-agent/codec/index.js';
import { Cluster } from './cluster.js';
import { type Comparison, compare, type Side } from './compare.js';
import { type Load, runFio } from './fio.js';
import { Qemu, type QemuKind } from './qemu.js';

const KIB = 1024;
const MIB = 1024 * KIB;

export interface Effort {
  readonly rounds: number;
  readonly seconds: number;
  readonly sizeBytes: number;
  /** Only loads whose name contains this. */
  readonly only: string;
}

export interface Setup {
  readonly title: string;
  readonly peer: QemuKind;
  readonly replicas: number;
  readonly encryption: boolean;
  /** One side each; a volume that is not encrypted has no use for more than one. */
  readonly engines: readonly CipherEngine[];
  /** Ratios to be reached, per engine. */
  readonly goals: Readonly<Partial<Record<CipherEngine, Goals>>>;
}

interface Goals {
  readonly deep: number;
  readonly shallow: number;
  readonly long: number;
}

interface NamedLoad extends Omit<Load, 'seconds' | 'sizeBytes'> {
  readonly name: string;
  readonly goal?: keyof Goals;
}

/** What a 4 KiB and a 128 KiB request cost, alone and one of many; and what a flush does. */
const LOADS: readonly NamedLoad[] = [
  { name: '4 KiB random write, depth 32', pattern: 'randwrite', blockBytes: 4 * KIB, depth: 32, goal: 'deep' },
  { name: '4 KiB random read, depth 32', pattern: 'randread', blockBytes: 4 * KIB, depth: 32, goal: 'deep' },
  { name: '4 KiB random write, depth 1', pattern: 'randwrite', blockBytes: 4 * KIB, depth: 1, goal: 'shallow' },
  { name: '4 KiB random read, depth 1', pattern: 'randread', blockBytes: 4 * KIB, depth: 1, goal: 'shallow' },
  { name: '128 KiB sequential write, depth 8', pattern: 'write', blockBytes: 128 * KIB, depth: 8, goal: 'long' },
  { name: '128 KiB sequential read, depth 8', pattern: 'read', blockBytes: 128 * KIB, depth: 8, goal: 'long' },
  { name: '4 KiB write and flush, depth 1', pattern: 'randwrite', blockBytes: 4 * KIB, depth: 1, flushEvery: 1 },
  {
    name: '4 KiB random write, depth 32, flush every 32',
    pattern: 'randwrite',
    blockBytes: 4 * KIB,
    depth: 32,
    flushEvery: 32,
  },
];

/** All loads on all sides of one set-up; volumes and images are full before the first. `place`: the directory. */
export async function againstQemu(setup: Setup, place: string, effort: Effort): Promise<Comparison[]> {
  const { sizeBytes, rounds, seconds } = effort;
  const directory = mkdtempSync(join(place, 'bench-'));
  const clusters: Cluster[] = [];
  let peer: Qemu | undefined;
  try {
    const ours: (Side & { readonly goals: Goals | undefined })[] = [];
    for (const engine of setup.engines) {
      const own = join(directory, engine);
      mkdirSync(own);
      const cluster = await Cluster.start({ directory: own, nodes: setup.replicas + 1, engine });
      clusters.push(cluster);
      const { replicas, encryption } = setup;
      const { uri } = await cluster.createVolume({ sizeBytes, replicas, encryption, compression: true });
      const name = encryption ? `volume, ${engine}` : 'volume';
      ours.push({ name, uri, cpuMs: () => cluster.cpuMs(), goals: setup.goals[engine] });
    }
    peer = await Qemu.start(setup.peer, directory, sizeBytes);
    const { uri } = peer;
    const theirs: Side = { name: setup.peer, uri, cpuMs: async () => peer?.cpuMs ?? 0 };
    const whole: Load = { pattern: 'write', blockBytes: MIB, depth: 4, seconds: 'whole', sizeBytes };
    for (const side of [...ours, theirs]) await runFio(side.uri, whole);
    const results: Comparison[] = [];
    for (const { name, goal, ...load } of LOADS) {
      if (!name.includes(effort.only)) continue;
      const sides = ours.map(({ goals, ...side }) => ({
        ...side,
        ...(goal !== undefined && goals !== undefined && { goal: goals[goal] }),
      }));
      results.push(...(await compare(name, { ...load, seconds, sizeBytes }, rounds, sides, theirs)));
    }
    if (clusters.some((cluster) => !cluster.complete)) throw new Error('a copy fell out of sync in the measurement');
    return results;
  } finally {
    await peer?.stop();
    for (const cluster of clusters) await cluster.stop();
    rmSync(directory, { recursive: true });
  }
}
