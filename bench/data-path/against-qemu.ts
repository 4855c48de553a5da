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
  /** Before what is measured of writes, on every side: so long is not counted. */
  readonly runUpSeconds?: number;
  readonly sizeBytes: number;
  /** Only loads whose name contains this. */
  readonly only: string;
}

export interface Setup {
  readonly title: string;
  readonly peer: QemuKind;
  readonly replicas: number;
  readonly encryption: boolean;
  readonly sides: readonly VolumeSide[];
}

/** A volume that is measured beside the others. */
export interface VolumeSide {
  readonly name: string;
  readonly engine: CipherEngine;
  readonly compression: boolean;
  /** Ratios to be reached. */
  readonly goals?: Goals;
  /** Whether it takes part in every load; otherwise only in those that its compression makes a difference to. */
  readonly everyLoad: boolean;
}

export interface Goals {
  readonly deep: number;
  readonly shallow: number;
  readonly long: number;
}

interface NamedLoad extends Omit<Load, 'seconds' | 'sizeBytes'> {
  readonly name: string;
  readonly goal?: keyof Goals;
  /** It depends on the data what it costs. */
  readonly dataMatters?: true;
}

/** What a 4 KiB and a 128 KiB request cost, alone and one of many; and what a flush does. */
const LOADS: readonly NamedLoad[] = [
  ...both('4 KiB random', { blockBytes: 4 * KIB, depth: 32, goal: 'deep', dataMatters: true }, true),
  ...both('4 KiB random', { blockBytes: 4 * KIB, depth: 1, goal: 'shallow' }, true),
  ...both('128 KiB sequential', { blockBytes: 128 * KIB, depth: 32, goal: 'long', dataMatters: true }, false),
  ...both('128 KiB sequential', { blockBytes: 128 * KIB, depth: 1, goal: 'long' }, false),
  { name: '4 KiB write and flush, depth 1', pattern: 'randwrite', blockBytes: 4 * KIB, depth: 1, flushEvery: 1 },
  {
    name: '4 KiB random write, depth 32, flush every 32',
    pattern: 'randwrite',
    blockBytes: 4 * KIB,
    depth: 32,
    flushEvery: 32,
  },
];

/** Part of the buffers that compresses away where compression is what is looked at, per cent. */
const COMPRESSIBLE = 50;

function both(name: string, shape: Omit<NamedLoad, 'name' | 'pattern'>, random: boolean): NamedLoad[] {
  return [
    { name: `${name} write, depth ${shape.depth}`, pattern: random ? 'randwrite' : 'write', ...shape },
    { name: `${name} read, depth ${shape.depth}`, pattern: random ? 'randread' : 'read', ...shape },
  ];
}

interface OwnSide extends Side {
  readonly goals: Goals | undefined;
  readonly everyLoad: boolean;
}

/** All loads on all sides of one set-up; volumes and images are full before the first. `place`: the directory. */
export async function againstQemu(setup: Setup, place: string, effort: Effort): Promise<Comparison[]> {
  const { sizeBytes, rounds, seconds, runUpSeconds = 0 } = effort;
  const { replicas, encryption } = setup;
  const directory = mkdtempSync(join(place, 'bench-'));
  const clusters = new Map<CipherEngine, Cluster>();
  let peer: Qemu | undefined;
  try {
    const ours: OwnSide[] = [];
    for (const { name, engine, compression, goals, everyLoad } of setup.sides) {
      let cluster = clusters.get(engine);
      if (cluster === undefined) {
        const own = join(directory, engine);
        mkdirSync(own);
        cluster = await Cluster.start({ directory: own, nodes: replicas + 1, engine });
        clusters.set(engine, cluster);
      }
      const on = cluster;
      const { uri } = await on.createVolume({ sizeBytes, replicas, encryption, compression });
      ours.push({
        name,
        uri,
        cpuMs: () => on.cpuMs(),
        writtenBytes: () => on.writtenBytes(),
        goals,
        everyLoad,
      });
    }
    peer = await Qemu.start(setup.peer, directory, sizeBytes);
    const { uri } = peer;
    const theirs: Side = { name: setup.peer, uri, cpuMs: async () => peer?.cpuMs ?? 0 };
    const results: Comparison[] = [];
    const measure = async (named: NamedLoad, own: readonly OwnSide[], compressible: number): Promise<void> => {
      const { name, goal, dataMatters: _, ...load } = named;
      const what = compressible === 0 ? name : `${name}, ${compressible} % compressible`;
      if (!what.includes(effort.only)) return;
      const sides = own.map(({ goals, ...side }) => ({
        ...side,
        ...(goal !== undefined && goals !== undefined && compressible === 0 && { goal: goals[goal] }),
      }));
      const full = { ...load, seconds, sizeBytes, runUpSeconds, compressible };
      results.push(...(await compare(what, full, rounds, sides, theirs)));
    };
    const fill = async (sides: readonly Side[], compressible: number): Promise<void> => {
      const whole: Load = { pattern: 'write', blockBytes: MIB, depth: 4, seconds: 'whole', sizeBytes, compressible };
      for (const side of sides) await runFio(side.uri, whole);
    };
    await fill([...ours, theirs], 0);
    for (const load of LOADS) {
      await measure(
        load,
        ours.filter((side) => side.everyLoad || load.dataMatters === true),
        0,
      );
    }
    const compressing = ours.filter((_, i) => setup.sides[i]!.compression && !encryption);
    if (compressing.length > 0) {
      await fill([...compressing, theirs], COMPRESSIBLE);
      for (const load of LOADS) if (load.dataMatters) await measure(load, compressing, COMPRESSIBLE);
    }
    if ([...clusters.values()].some((cluster) => !cluster.complete)) {
      throw new Error('a copy fell out of sync in the measurement');
    }
    return results;
  } finally {
    await peer?.stop();
    for (const cluster of clusters.values()) await cluster.stop();
    rmSync(directory, { recursive: true });
  }
}
