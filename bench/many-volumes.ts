/**
 * What many volumes cost: how long a node takes to open their copies, after a kill and after a clean end, and with how
 * many open files; then processor and memory of two nodes' data planes with more and more attached volumes of one
 * replica, each written to a little, that nobody uses.
 *
 *   npm run bench -- many-volumes [--quick] [--part openings|idle] [DIRECTORY]
 *
 * Goals: 250 deployments are open within seconds, with a bounded number of files; an agent with 10 volumes takes at most 1 % of a processor and 200 MiB, each further volume 4 MiB. Here is the
 * data plane of an agent, without API, gossip and Temporal's worker. Results go to bench/results/many-volumes.json.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Cluster } from './data-path/cluster.js';
import { runFio } from './data-path/fio.js';
import { options } from './options.js';
import { savePart } from './results.js';
import { measureOpenings } from './store/openings.js';

const MIB = 1 << 20;
const VOLUME_BYTES = 1 << 30;
/** Written to each volume before it is left alone. */
const WRITTEN_BYTES = 4 * MIB;
const NODES = 2;

interface Idle {
  readonly volumes: number;
  /** Of one processor, per cent, per node. */
  readonly cpu: number;
  readonly residentMib: number;
  readonly mibPerVolume?: number;
  /** Creation, attachment and the first writes of those that were added. */
  readonly addedPerSecond: number;
}

async function idle(cluster: Cluster, seconds: number): Promise<{ cpu: number; residentMib: number }> {
  const before = await Promise.all(cluster.nodes.map((node) => node.usage()));
  await sleep(seconds * 1000);
  const after = await Promise.all(cluster.nodes.map((node) => node.usage()));
  const used = after.map(({ cpuMs }, i) => (cpuMs - before[i]!.cpuMs) / (seconds * 10));
  return {
    cpu: used.reduce((a, b) => a + b, 0) / NODES,
    residentMib: Math.max(...after.map(({ residentBytes }) => residentBytes)) / MIB,
  };
}

const { place, effort, quick, part } = options({ sizeBytes: VOLUME_BYTES });

async function measureIdle(): Promise<Idle[]> {
  const counts = quick ? [10, 50] : [10, 50, 250];
  const directory = mkdtempSync(join(place, 'bench-many-'));
  const cluster = await Cluster.start({ directory, nodes: NODES });
  try {
    const rows: Idle[] = [];
    let volumes = 0;
    for (const count of counts) {
      const since = performance.now();
      const first = volumes;
      for (; volumes < count; volumes++) {
        const shape = { sizeBytes: VOLUME_BYTES, replicas: 1, encryption: false, compression: true };
        const { uri } = await cluster.createVolume(shape, volumes % NODES);
        const load = { pattern: 'randwrite', blockBytes: 4096, depth: 8, seconds: 'whole' } as const;
        await runFio(uri, { ...load, sizeBytes: WRITTEN_BYTES });
      }
      const addedPerSecond = (1000 * (count - first)) / (performance.now() - since);
      const measured = await idle(cluster, effort.seconds * 10);
      const last = rows.at(-1);
      const mibPerVolume = last && (measured.residentMib - last.residentMib) / (count - last.volumes);
      rows.push({ volumes: count, ...measured, addedPerSecond, ...(mibPerVolume !== undefined && { mibPerVolume }) });
    }
    return rows;
  } finally {
    await cluster.stop();
    rmSync(directory, { recursive: true });
  }
}

const PARTS: Readonly<Record<string, () => Promise<object[]>>> = {
  openings: () => measureOpenings({ place, quick }),
  idle: measureIdle,
};

const chosen = Object.entries(PARTS).filter(([name]) => part === '' || name === part);
if (chosen.length === 0) throw new Error(`there is no part ${part}: ${Object.keys(PARTS).join(', ')}`);
for (const [name, measure] of chosen) {
  const rows = await measure();
  console.log(name);
  console.table(rows);
  if (!quick) savePart('many-volumes', name, { seconds: effort.seconds * 10 }, { results: rows });
}
