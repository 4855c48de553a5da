/** Bits of a node's blob files that change by themselves, and what the node says that it found of them. */

import { closeSync, fstatSync, openSync, readdirSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { ApiVolume } from '../../client/types.js';
import type { NodeFacts } from '../../cluster/facts.js';
import { waitFor } from '../../cluster/wait.js';

const TIMEOUT_MS = 60_000;
/** Beyond the first batch's header, where nothing but the log would notice. */
const FIRST_BYTE = 4096;

/** Changes a byte in every so many of the node's segments; returns how many. */
export function rot(node: NodeFacts, everyBytes: number, random: () => number = Math.random): number {
  const directory = join(node.rootDir, 'data', 'dev1');
  let changed = 0;
  for (const name of readdirSync(directory).filter((file) => file.endsWith('.blob'))) {
    const file = openSync(join(directory, name), 'r+');
    try {
      const { size } = fstatSync(file);
      for (let at = FIRST_BYTE + Math.floor(random() * everyBytes); at < size; at += everyBytes) {
        const byte = Buffer.alloc(1);
        readSync(file, byte, 0, 1, at);
        byte[0]! ^= 0x10;
        writeSync(file, byte, 0, 1, at);
        changed++;
      }
    } finally {
      closeSync(file);
    }
  }
  return changed;
}

/** A metric of one volume on one node; 0 if the node has no copy. */
export async function volumeMetric(node: NodeFacts, name: string, volume: ApiVolume): Promise<number> {
  const response = await fetch(`http://${node.apiEndpoint}/metrics`);
  const line = (await response.text()).split('\n').find((l) => l.startsWith(`${name}{`) && l.includes(volume.id));
  return Number(line?.split(' ').at(-1) ?? 0);
}

/** Until the scrub has gone through all of the copy once more. */
export async function scrubbed(node: NodeFacts, volume: ApiVolume): Promise<void> {
  const passes = () => volumeMetric(node, 'storageos_volume_scrub_passes_total', volume);
  // The pass that is under way may be beyond what has changed.
  const goal = (await passes()) + 2;
  await waitFor(`${node.name} to scrub`, async () => (await passes()) >= goal || undefined, { timeoutMs: TIMEOUT_MS });
}

export async function mended(node: NodeFacts, volume: ApiVolume): Promise<void> {
  await waitFor(
    `${node.name} to mend its copy`,
    async () => (await volumeMetric(node, 'storageos_volume_bad_blocks', volume)) === 0 || undefined,
    { timeoutMs: TIMEOUT_MS },
  );
}
