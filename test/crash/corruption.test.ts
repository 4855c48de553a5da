/**
 * Flips every byte of a small deployment's files in turn. Reads give the right data or BadBlockError; what can't
 * be read at all is reported as such; nothing that was durable is missing from a store that opens.
 */

import { describe, expect, it } from 'vitest';
import { BadBlockError, DiskError } from '../../core/ports.js';
import type { LocalDeploymentStore } from '../../node-agent/store/deployment-store.js';
import { IndexDamageError } from '../../node-agent/store/errors.js';
import { type NodeStores, NoSuchDeploymentError, StoreCorruptError } from '../../node-agent/store/index.js';
import { SimDisk } from '../sim/sim-disk.js';
import { DEPLOYMENT, newDeployment, openStores, seeded } from '../unit/store/support.js';
import { BLOCKS, observe, Runner, type Version } from './workload.js';

const SETTINGS = { segmentBytes: 1_500, indexPageRows: 4 };

/** Writes, flushes, checkpoints and a replay behind the last checkpoint, in a few KiB. */
async function build(ending: 'closed' | 'killed' | 'power cut'): Promise<{ sim: SimDisk; expected: Version }> {
  const sim = new SimDisk({ random: seeded(3) });
  const runner = new Runner();
  const write = (block: number, length: number) =>
    runner.run(store, { kind: 'write', entries: [{ block, length, blocks: 2 }] });
  let stores = await openStores(sim.mount(), { settings: SETTINGS });
  let store = await stores.create({ ...newDeployment, blocks: BLOCKS });
  for (let i = 0; i < 6; i++) await write(i, 100 + i);
  await write(2, 0);
  await runner.run(store, { kind: 'backfill', block: 9, length: 90, forget: false });
  await stores.close();
  stores = await openStores(sim.mount(), { settings: SETTINGS });
  store = await stores.open(DEPLOYMENT);
  for (let i = 4; i < 9; i++) await write(i, 120 + i);
  await store.flush();
  await write(11, 64);
  await write(12, 0);
  await store.flush();
  const expected = await observe(store);
  if (ending === 'closed') await stores.close();
  sim.crash({ power: ending === 'power cut' });
  return { sim, expected };
}

type Outcome = 'right' | 'bad blocks' | 'index damaged' | 'refused' | 'tail cut';

/** Opens the damaged store and reads everything; throws on anything that is not right and not reported. */
async function inspect(disk: SimDisk, expected: Version, bootId: string): Promise<Outcome> {
  let stores: NodeStores;
  let store: LocalDeploymentStore;
  try {
    stores = await openStores(disk.mount(), { random: seeded(9), bootId, settings: SETTINGS });
    store = await stores.open(DEPLOYMENT);
  } catch (error) {
    const reported = error instanceof StoreCorruptError || error instanceof NoSuchDeploymentError;
    if (!reported) throw error;
    return 'refused';
  }
  const last = `${store.last.epoch}/${store.last.sequence}`;
  if (last !== expected.last) {
    // Without a proof that it was durable, a damaged end can't be told from one that the power cut tore.
    expect(store.state.unclean, `${last} instead of ${expected.last}`).toBe(true);
    return 'tail cut';
  }
  let bad = false;
  for (let b = 0; b < BLOCKS; b++) {
    const cell = expected.cells[b];
    try {
      const { orders, batch } = await store.read(b as never, 1);
      expect(batch.payload.toString()).toBe(cell?.text ?? '');
      expect(`${orders[0]!.epoch}/${orders[0]!.sequence}`).toBe(cell?.order ?? '0/0');
    } catch (error) {
      if (error instanceof IndexDamageError) {
        await expectToStayShut(stores, store, error);
        return 'index damaged';
      }
      if (!(error instanceof BadBlockError)) throw error;
      expect(error.blocks[0]!.block).toBe(b);
      bad = true;
    }
  }
  return bad ? 'bad blocks' : 'right';
}

/** What a damaged page says is lost: the store ends, and says so whenever it is to be opened again. */
async function expectToStayShut(
  stores: NodeStores,
  store: LocalDeploymentStore,
  error: IndexDamageError,
): Promise<void> {
  expect(store.failed).toBe(true);
  await expect(stores.open(DEPLOYMENT)).rejects.toMatchObject({ name: 'StoreCorruptError', damages: [error.damage] });
}

/** Every byte, but of a run of zeroes that fills something up only a few. */
function* bytesToFlip(path: string, bytes: Uint8Array): Generator<number> {
  // The end of a superblock is padding.
  const end = path.includes('super') ? Buffer.from(bytes).lastIndexOf('}') + 1 : bytes.length;
  for (let at = 0, zeroes = 0; at < end; at++) {
    zeroes = bytes[at] === 0 ? zeroes + 1 : 0;
    if (zeroes < 64 || at % 97 === 0) yield at;
  }
}

describe('every byte of a store, flipped', () => {
  for (const [ending, bootId] of [
    ['closed', 'boot-1'],
    ['killed', 'boot-1'],
    ['power cut', 'boot-2'],
  ] as const) {
    it(`after the store was ${ending}`, async () => {
      const { sim, expected } = await build(ending);
      expect(await inspect(sim.clone(seeded(1)), expected, bootId)).toBe('right');
      const outcomes: Record<Outcome, number> = {
        right: 0,
        'bad blocks': 0,
        'index damaged': 0,
        refused: 0,
        'tail cut': 0,
      };
      for (const path of sim.files()) {
        const bytes = sim.contents(path);
        for (const at of bytesToFlip(path, bytes)) {
          const disk = sim.clone(seeded(1));
          disk.damage(path, at, (byte) => byte ^ (1 << (at % 8)));
          try {
            outcomes[await inspect(disk, expected, bootId)]++;
          } catch (error) {
            throw new Error(`${path} at ${at} of ${bytes.length}`, { cause: error });
          }
        }
      }
      expect(outcomes['bad blocks']).toBeGreaterThan(100);
      expect(outcomes['index damaged']).toBeGreaterThan(100);
      expect(outcomes.refused).toBeGreaterThan(100);
      if (ending !== 'power cut') expect(outcomes['tail cut']).toBe(0);
    });
  }

  it('all copies of the superblock: the deployment is reported, and nothing of it is touched', async () => {
    const { sim } = await build('closed');
    for (const path of sim.files().filter((name) => name.includes('super'))) sim.damage(path, 30, (byte) => byte ^ 1);
    const before = sim.files();
    const stores = await openStores(sim.mount(), { settings: SETTINGS });
    expect(stores.damages.map(({ path }) => path)).toEqual([0, 1, 2].map((n) => `data/db1/1/super.${n}`));
    await expect(stores.open(DEPLOYMENT)).rejects.toThrow(NoSuchDeploymentError);
    expect(sim.files()).toEqual(before);
  });

  it('a bad payload at the very end: the process was killed, so it is damage; after a power cut it is torn', async () => {
    const sim = new SimDisk({ random: seeded(3) });
    const store = await (await openStores(sim.mount())).create({ ...newDeployment, blocks: BLOCKS });
    const runner = new Runner();
    for (const block of [1, 2]) await runner.run(store, { kind: 'write', entries: [{ block, length: 50, blocks: 1 }] });
    await store.flush();
    const segment = sim.files().find((name) => name.endsWith('.blob'))!;
    sim.damage(segment, Buffer.from(sim.contents(segment)).indexOf('block 2'), () => 0);
    for (const [bootId, last] of [
      ['boot-1', 2],
      ['boot-2', 1],
    ] as const) {
      const disk = sim.clone(seeded(4));
      const opened = await (await openStores(disk.mount(), { bootId })).open(DEPLOYMENT);
      expect(opened.last.sequence).toBe(last);
      expect(opened.damages.map(({ what }) => what)).toEqual(last === 2 ? ['block 2: bad checksum'] : []);
      expect(opened.state.unclean).toBe(bootId === 'boot-2');
      if (last === 2) await expect(opened.read(2 as never, 1)).rejects.toThrow(BadBlockError);
    }
  });

  it('a segment that is gone is reported', async () => {
    const { sim } = await build('closed');
    const gone = sim.files().find((name) => name.endsWith('.0.blob'))!;
    sim.mount().unlink(gone);
    const stores = await openStores(sim.mount(), { settings: SETTINGS });
    await expect(stores.open(DEPLOYMENT)).rejects.toThrow(StoreCorruptError);
    await expect(stores.open(DEPLOYMENT)).rejects.not.toThrow(DiskError);
  });
});
