/**
 * What a copy costs: volumes with 0, 1, 2 and 5 replicas – each node a process of its own, TCP with mutual TLS between
 * them – beside as many copies of qemu's: one qcow2 image, or its quorum driver over a local image and others behind
 * qemu-nbd on TCP, without TLS. All copies are on one disk and share the machine's processors, on both sides.
 */

import { againstQemu, type Effort, type Goals, type Setup } from '../data-path/against-qemu.js';
import { type Comparison, row } from '../data-path/compare.js';

const setup = (replicas: number, goals?: Goals): Setup => ({
  title: `${replicas} replicas`,
  peer: replicas === 0 ? 'qcow2' : `quorum of ${replicas + 1}`,
  replicas,
  encryption: false,
  sides: [{ name: 'volume', engine: 'wasm', compression: false, everyLoad: true, ...(goals && { goals }) }],
});
const SETUPS: readonly Setup[] = [
  setup(0, { deep: 2, shallow: 1, long: 1 }),
  setup(1, { deep: 2.5, shallow: 1, long: 1.5 }),
  setup(2),
  setup(5),
];

/** Set-ups whose title contains `wanted`. */
export async function measureCopies(
  place: string,
  effort: Effort,
  wanted: string,
): Promise<Record<string, readonly Comparison[]>> {
  const results: Record<string, readonly Comparison[]> = {};
  for (const each of SETUPS.filter(({ title }) => title.includes(wanted))) {
    console.log(each.title);
    const compared = await againstQemu(each, place, effort);
    console.table(compared.map(row));
    results[each.title] = compared;
  }
  return results;
}
