/**
 * What volumes cost that nobody uses: processor and memory of two nodes' data planes with more and more attached
 * volumes of one replica, each written to a little.
 *
 *   npm run bench -- many-volumes [--quick] [DIRECTORY]
 *
 * Goals: an agent with 10 volumes takes at most 1 % of a processor and 200 MiB, each further volume 4 MiB. Here is the
 * data plane of an agent, without API, gossip and Temporal's worker. Results go to bench/results/many-volumes.json.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Cluster } from './data-path/cluster.js';
import { runFio } from './data-path/fio.js';
import { options } from './options.js';
import { saveResults } from './results.js';

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

const { place, effort } = options({ sizeBytes: VOLUME_BYTES });
const counts = effort.rounds > 3 ? [10, 50, 250] : [10, 50];
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
  console.table(rows);
  saveResults('many-volumes', { seconds: effort.seconds * 10 }, { idle: rows });
} finally {
  await cluster.stop();
  rmSync(directory, { recursive: true });
}
