/**
 * What a copy costs: volumes with 0, 1 and 2 replicas – each node a process of its own, TCP with mutual TLS between
 * them – beside qemu's quorum driver over a local qcow2 image and one behind qemu-nbd on TCP, without TLS.
 *
 *   npm run bench -- replication [--quick] [--setup TEXT] [--only TEXT] [DIRECTORY]
 *
 * All copies are on one disk and share the machine's processors, on both sides. Otherwise as `bench -- store`; results
 * go to bench/results/replication.json.
 */

import { againstQemu, type Setup } from './data-path/against-qemu.js';
import { type Comparison, row } from './data-path/compare.js';
import { options } from './options.js';
import { saveResults } from './results.js';

const setup = (replicas: number, goals: Setup['goals'] = {}): Setup => ({
  title: `${replicas} replicas`,
  peer: 'quorum of 2',
  replicas,
  encryption: false,
  engines: ['wasm'],
  goals,
});
const SETUPS: readonly Setup[] = [setup(0), setup(1, { wasm: { deep: 2.5, shallow: 1, long: 1.5 } }), setup(2)];

const { place, effort, setup: wanted } = options({ sizeBytes: 128 * 1024 * 1024 });
const results: Record<string, readonly Comparison[]> = {};
for (const each of SETUPS.filter(({ title }) => title.includes(wanted))) {
  console.log(each.title);
  const compared = await againstQemu(each, place, effort);
  console.table(compared.map(row));
  results[each.title] = compared;
}
if (effort.only === '' && wanted === '') saveResults('replication', effort, results);
