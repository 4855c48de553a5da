/**
 * One copy of a volume – NBD server, codec, replication without replicas, block store – against qemu-nbd with a
 * qcow2 image on the same disk, and encrypted against qcow2 with LUKS; then the block store alone.
 *
 *   npm run bench -- store [--quick] [--setup TEXT] [--only TEXT] [--alone | --volumes] [DIRECTORY]
 *
 * DIRECTORY (default: the system's temporary one) decides which file system is measured. Both sides write back: a
 * write is answered when it is in the page cache, a flush when it is on the disk. Every figure is the median of
 * rounds in which all sides take turns; results go to bench/results/store.json.
 */

import { againstQemu, type Setup } from './data-path/against-qemu.js';
import { type Comparison, row } from './data-path/compare.js';
import { options } from './options.js';
import { saveResults } from './results.js';

const SETUPS: readonly Setup[] = [
  {
    title: 'thin volume, one copy, plain',
    peer: 'qcow2',
    replicas: 0,
    encryption: false,
    engines: ['wasm'],
    goals: { wasm: { deep: 2, shallow: 1, long: 1 } },
  },
  {
    title: 'thin volume, one copy, encrypted',
    peer: 'qcow2+luks',
    replicas: 0,
    encryption: true,
    engines: ['native', 'wasm'],
    goals: { native: { deep: 2, shallow: 1, long: 1 }, wasm: { deep: 1, shallow: 0.8, long: 0.5 } },
  },
];

const { place, effort, setup: wanted, has } = options({ sizeBytes: 256 * 1024 * 1024 });
const results: Record<string, readonly Comparison[]> = {};
if (!has('--alone')) {
  for (const setup of SETUPS.filter(({ title }) => title.includes(wanted))) {
    console.log(setup.title);
    const compared = await againstQemu(setup, place, effort);
    console.table(compared.map(row));
    results[setup.title] = compared;
  }
  if (effort.only === '' && wanted === '') saveResults('store', effort, results);
}
if (!has('--volumes')) await import('./store-alone.js');
