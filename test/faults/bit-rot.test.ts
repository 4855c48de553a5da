/** Bytes of blob files change under a running cluster: nobody is ever shown them, and every copy mends itself. */

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { waitFor } from '../../cluster/wait.js';
import { runFio, startFio } from '../setup/fio.js';
import { mended, rot, scrubbed, volumeMetric } from '../setup/rot.js';
import { TestCluster } from '../setup/test-cluster.js';

const MIB = 1024 * 1024;
/** fio's blocks that are verified later take next to nothing when they are compressed. */
const AS_WRITTEN = { 'storageos.com/nocompress': 'true' };
let test: TestCluster;

beforeAll(async () => {
  test = await TestCluster.start({ settings: { SCRUB_INTERVAL: '2s', SCRUB_BYTES_PER_SECOND: String(64 * MIB) } });
});

afterAll(async () => {
  await test?.destroy();
});

it('a replica finds what has rotted, and has it sent by its primary', async () => {
  const volume = await test.createVolume('rotten-replica', 1, AS_WRITTEN);
  const consumer = test.bystander(volume);
  await runFio({ uri: await test.attach(volume, consumer), size: '24m', seed: 1, mode: 'write' });
  const replica = test.nodeOf(volume.replicas![0]!.nodeID);
  expect(rot(replica, MIB)).toBeGreaterThan(20);
  await waitFor(
    'the scrub to find something',
    async () => (await volumeMetric(replica, 'storageos_volume_scrub_bad_blocks_total', volume)) > 15 || undefined,
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
  const volume = await test.createVolume('rotten-primary', 1, AS_WRITTEN);
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
