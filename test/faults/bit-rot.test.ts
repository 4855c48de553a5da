/** Bytes of blob files change under a running cluster: nobody is ever shown them, and every copy mends itself. */

import { closeSync, fstatSync, openSync, readdirSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { ApiVolume } from '../../client/types.js';
import type { NodeFacts } from '../../cluster/facts.js';
import { waitFor } from '../../cluster/wait.js';
import { runFio, startFio } from '../setup/fio.js';
import { TestCluster } from '../setup/test-cluster.js';

const MIB = 1024 * 1024;
let test: TestCluster;

beforeAll(async () => {
  test = await TestCluster.start({ settings: { SCRUB_INTERVAL: '2s', SCRUB_BYTES_PER_SECOND: String(64 * MIB) } });
});

afterAll(async () => {
  await test?.destroy();
});

/** Changes a byte in every so many of the node's segments; returns how many. */
function rot(node: NodeFacts, everyBytes: number): number {
  const directory = join(node.rootDir, 'data', 'dev1');
  let changed = 0;
  for (const name of readdirSync(directory).filter((file) => file.endsWith('.blob'))) {
    const file = openSync(join(directory, name), 'r+');
    try {
      const { size } = fstatSync(file);
      // Not in the first batch's header, where nothing but the log would notice.
      for (let at = 4096 + Math.floor(Math.random() * everyBytes); at < size; at += everyBytes) {
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
async function metric(node: NodeFacts, name: string, volume: ApiVolume): Promise<number> {
  const response = await fetch(`http://${node.apiEndpoint}/metrics`);
  const line = (await response.text()).split('\n').find((l) => l.startsWith(`${name}{`) && l.includes(volume.id));
  return Number(line?.split(' ').at(-1) ?? 0);
}

/** Until the scrub has gone through all of the copy once more. */
async function scrubbed(node: NodeFacts, volume: ApiVolume): Promise<void> {
  const passes = () => metric(node, 'storageos_volume_scrub_passes_total', volume);
  // The pass that is under way may be beyond what has changed.
  const goal = (await passes()) + 2;
  await waitFor(`${node.name} to scrub`, async () => (await passes()) >= goal || undefined, { timeoutMs: 60_000 });
}

async function mended(node: NodeFacts, volume: ApiVolume): Promise<void> {
  await waitFor(
    `${node.name} to mend its copy`,
    async () => (await metric(node, 'storageos_volume_bad_blocks', volume)) === 0 || undefined,
    { timeoutMs: 60_000 },
  );
}

it('a replica finds what has rotted, and has it sent by its primary', async () => {
  const volume = await test.createVolume('rotten-replica', 1);
  const consumer = test.bystander(volume);
  await runFio({ uri: await test.attach(volume, consumer), size: '24m', seed: 1, mode: 'write' });
  const replica = test.nodeOf(volume.replicas![0]!.nodeID);
  expect(rot(replica, MIB)).toBeGreaterThan(20);
  await waitFor(
    'the scrub to find something',
    async () => (await metric(replica, 'storageos_volume_scrub_bad_blocks_total', volume)) > 15 || undefined,
    { timeoutMs: 60_000 },
  );
  await scrubbed(replica, volume);
  await mended(replica, volume);

  // It is the primary then, and nobody else has the blocks.
  await test.cluster.killNode(test.nodeOf(volume.master.nodeID).name);
  await runFio({ uri: await test.attach(volume, consumer), size: '24m', seed: 1, mode: 'verify' });
  const after = await test.untilReady(volume, 1);
  expect(after.master.nodeID).toBe(replica.id);
  expect(await test.verify(volume)).toMatchObject({ identical: true });
  await test.startAll();
});

it('fio verifies every block while the primary rots under it', async () => {
  const volume = await test.createVolume('rotten-primary', 1);
  const uri = await test.attach(volume, test.bystander(volume));
  await runFio({ uri, size: '24m', seed: 2, mode: 'write' });
  const primary = test.nodeOf(volume.master.nodeID);
  const fio = startFio({ uri, size: '24m', offset: '32m', seed: 3, rateIops: 600 });
  for (let round = 0; round < 4; round++) {
    expect(rot(primary, 512 * 1024)).toBeGreaterThan(20);
    await runFio({ uri, size: '24m', seed: 2, mode: 'verify' });
    await sleep(500);
  }
  await fio.done;
  await scrubbed(primary, volume);
  await mended(primary, volume);
  await test.untilReady(volume, 1);
  expect(await test.verify(volume)).toMatchObject({ identical: true });
});
