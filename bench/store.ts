/**
 * The block store: one copy of a volume – NBD server, codec, replication without replicas, block store – against
 * qemu-nbd with a qcow2 image on the same disk, and encrypted against qcow2 with LUKS; then the block store alone.
 *
 *   npm run bench -- store [--quick] [--part NAME] [--setup TEXT] [--only TEXT] [DIRECTORY]
 *
 * Parts: `volumes` (of it, set-ups and loads whose title contains TEXT), `pages`, `rates`, `recovery`, `checkpoints`,
 * `cleaning`; all by default. DIRECTORY (default: the system's temporary one) decides which file system is measured.
 * Both sides write back: a write is answered when it is in the page cache, a flush when it is on the disk. Every ratio
 * is the median of rounds in which all sides take turns. What is not `--quick`, nor a selection of loads, goes to
 * bench/results/store.json, part by part.
 */

import { measureVolumes } from './data-path/volumes.js';
import { options } from './options.js';
import { savePart } from './results.js';
import { measureCheckpoints } from './store/checkpoints.js';
import { measureCleaning } from './store/cleaning.js';
import { measurePageCache } from './store/page-cache.js';
import { measureRates } from './store/rates.js';
import { measureRecovery } from './store/recovery.js';
import type { StorePart } from './store/support.js';

/** Of volumes and images. */
const SIZE_BYTES = 256 * 1024 * 1024;

const { place, effort, quick, part: wanted, setup } = options({ sizeBytes: SIZE_BYTES });

const PARTS: Readonly<Record<string, (options: StorePart) => Promise<object>>> = {
  pages: measurePageCache,
  volumes: () => measureVolumes(place, effort, setup),
  rates: measureRates,
  recovery: measureRecovery,
  checkpoints: measureCheckpoints,
  cleaning: measureCleaning,
};

/** Nested figures as `p50 / p99.9 / max`, all of them short enough for a table. */
function short(value: unknown): unknown {
  if (typeof value === 'number') return Number(value.toPrecision(3));
  if (typeof value !== 'object' || value === null) return value;
  return Object.values(value).map(short).join(' / ');
}

const chosen = Object.entries(PARTS).filter(([name]) => wanted === '' || name === wanted);
if (chosen.length === 0) throw new Error(`there is no part ${wanted}: ${Object.keys(PARTS).join(', ')}`);
for (const [name, measure] of chosen) {
  const results = await measure({ place, quick });
  if (name !== 'volumes') {
    const rows: readonly object[] = Array.isArray(results) ? results : [results];
    console.log(name);
    console.table(
      rows.map((row) => Object.fromEntries(Object.entries(row).map(([key, value]) => [key, short(value)]))),
    );
  }
  const isWhole = !quick && effort.only === '' && setup === '';
  if (isWhole) savePart('store', name, name === 'volumes' ? effort : {}, { results });
}
