import { describe, expect, it } from 'vitest';
import type { DeploymentStore } from '../../core/ports.js';
import type { DeploymentId, Epoch, Sequence, VolumeId } from '../../core/types.js';
import { NodeStores } from '../../node-agent/store/index.js';
import { BLOCK_BYTES, badEntries, dataBatch, writesOf } from './blocks.js';
import { misdirect, provenPayloads, rot } from './damage.js';
import { SeededRandom } from './scheduler.js';
import { SimDisk } from './sim-disk.js';

const VOLUME = '00000000-0000-4000-8000-000000000001' as VolumeId;
const DEPLOYMENT = '00000000-0000-4000-8000-00000000000a' as DeploymentId;
const PAYLOAD_BYTES = 40;
const CHECKSUMS = {
  firstBad: (batch: Parameters<typeof badEntries>[0]) => badEntries(batch)[0] ?? -1,
  bad: badEntries,
};

/** A store on a disk whose timers never go off: it does what it is told and nothing else. */
async function open(disk: SimDisk, bootId: string): Promise<DeploymentStore> {
  const stores = await NodeStores.open({
    disk: disk.mount(),
    clock: { now: () => 0, timestamp: () => new Date(0).toISOString(), after: () => ({ cancel: () => {} }) },
    random: new SeededRandom(1),
    bootId,
    checksums: () => CHECKSUMS,
    reserveBytes: 0,
  });
  return stores.create({
    volume: VOLUME,
    deployment: DEPLOYMENT,
    blockSize: BLOCK_BYTES,
    blocks: 64,
    etcdClusterId: 'e',
  });
}

function write(store: DeploymentStore, number: number): void {
  store.append({
    epoch: 1 as Epoch,
    firstSequence: number as Sequence,
    batch: dataBatch(number, number, 1, PAYLOAD_BYTES),
  });
}

describe('what a simulated disk damages', () => {
  it('was durable, as the superblock or a later batch says; the end of a log is left alone', async () => {
    const disk = new SimDisk({ random: new SeededRandom(1) });
    const store = await open(disk, 'boot-1');
    expect(provenPayloads(disk)).toEqual([]);
    write(store, 1);
    await store.flush();
    // Durable, and nothing says so yet: after a power cut it cannot be told from a write that was torn.
    expect(provenPayloads(disk)).toEqual([]);
    write(store, 2);
    expect(provenPayloads(disk)).toEqual([]);
    await store.flush();
    expect(provenPayloads(disk)).toMatchObject([{ length: PAYLOAD_BYTES }]);
    await store.update({ promised: 5 as Epoch });
    expect(provenPayloads(disk)).toHaveLength(2);
  });

  it('is found for what it is after a power cut, and no block is lost by it', async () => {
    const disk = new SimDisk({ random: new SeededRandom(1) });
    const store = await open(disk, 'boot-1');
    for (let number = 1; number <= 3; number++) {
      write(store, number);
      await store.flush();
    }
    await store.update({ promised: 5 as Epoch });
    expect(rot(disk, new SeededRandom(2))).toBe(true);
    disk.crash({ power: true });
    const again = await open(disk, 'boot-2');
    expect(again.last.sequence).toBe(3);
    const read = async (block: number) => writesOf((await again.read(block as never, 1)).batch);
    const results = await Promise.allSettled([1, 2, 3].map(read));
    expect(results.filter(({ status }) => status === 'rejected')).toMatchObject([
      { reason: { name: 'BadBlockError' } },
    ]);
  });

  it('may be another payload of the same disk, which is not taken for the block that was there', async () => {
    const disk = new SimDisk({ random: new SeededRandom(1) });
    const store = await open(disk, 'boot-1');
    for (let number = 1; number <= 3; number++) write(store, number);
    await store.update({ unclean: false, promised: 5 as Epoch });
    const random = new SeededRandom(3);
    while (!misdirect(disk, random));
    const reads = [1, 2, 3].map(async (block) => writesOf((await store.read(block as never, 1)).batch));
    const results = await Promise.allSettled(reads);
    expect(results.filter(({ status }) => status === 'rejected')).toHaveLength(1);
  });
});
