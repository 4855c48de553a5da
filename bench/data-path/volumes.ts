/** One copy of a volume against one qcow2 image. */

import { againstQemu, type Effort, type Setup } from './against-qemu.js';
import { type Comparison, row } from './compare.js';

/** Like for like is a volume that does not compress: qcow2 does not either. What compression costs is beside it. */
const SETUPS: readonly Setup[] = [
  {
    title: 'thin volume, one copy, plain',
    peer: 'qcow2',
    replicas: 0,
    encryption: false,
    sides: [
      {
        name: 'volume',
        engine: 'wasm',
        compression: false,
        goals: { deep: 2, shallow: 1, long: 1 },
        everyLoad: true,
      },
      { name: 'volume, compressing', engine: 'wasm', compression: true, everyLoad: false },
    ],
  },
  {
    title: 'thin volume, one copy, encrypted',
    peer: 'qcow2+luks',
    replicas: 0,
    encryption: true,
    sides: [
      {
        name: 'volume, native',
        engine: 'native',
        compression: false,
        goals: { deep: 2, shallow: 1, long: 1 },
        everyLoad: true,
      },
      {
        name: 'volume, wasm',
        engine: 'wasm',
        compression: false,
        goals: { deep: 1, shallow: 0.8, long: 0.5 },
        everyLoad: true,
      },
    ],
  },
];

/** Set-ups whose title contains `wanted`; prints them as it goes. */
export async function measureVolumes(
  place: string,
  effort: Effort,
  wanted: string,
): Promise<Record<string, readonly Comparison[]>> {
  const results: Record<string, readonly Comparison[]> = {};
  for (const setup of SETUPS.filter(({ title }) => title.includes(wanted))) {
    console.log(setup.title);
    const compared = await againstQemu(setup, place, effort);
    console.table(compared.map(row));
    results[setup.title] = compared;
  }
  return results;
}
