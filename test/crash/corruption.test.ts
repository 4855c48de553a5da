/**
 * Flips every byte of a small deployment's files in turn. Reads give the right data or BadBlockError; what can't
 * be read at all is reported as such; nothing that was durable is missing from a store that opens.
 */

import { describe, expect, it } from 'vitest';
import { BadBlockError, DiskError, type Random } from '../../core/ports.js';
import type { LocalDeploymentStore } from '../../node-agent/store/deployment-store.js';
import { IndexDamageError } from '../../node-agent/store/errors.js';
import { type NodeStores, NoSuchDeploymentError, StoreCorruptError } from '../../node-agent/store/index.js';
import { SimDisk } from '../sim/sim-disk.js';
import { auditIndex } from '../unit/store/audit.js';
import { content, DEPLOYMENT, data, newDeployment, openStores, seeded, writeTo } from '../unit/store/support.js';
import { recorded } from './record.js';
import { BLOCKS, observe, Runner, type Version } from './workload.js';

/** Damages to a larger store; more than CI has time for: npm run crash -- --damages 20000 */
const DAMAGES = Number(process.env.CRASH_DAMAGES ?? 60);
const SEED = Number(process.env.CRASH_SEED ?? 1);
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

type Outcome = 'right' | 'bad blocks' | 'index repaired' | 'refused' | 'tail cut';

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
  const outcome = await compare(store, expected).catch(async (error: unknown): Promise<Outcome> => {
    if (!(error instanceof IndexDamageError)) throw error;
    expect(store.failed).toBe(true);
    // The next opening has repaired it, from the log, which is all there.
    const again = await stores.open(DEPLOYMENT);
    expect(again.state.unclean).toBe(true);
    expect(await compare(again, expected)).toBe('right');
    return 'index repaired';
  });
  if (outcome === 'index repaired' || store.damages.length > 0) {
    await stores.close();
    await auditIndex(disk.mount());
  }
  return outcome;
}

/** The right data, or bad blocks. Rejects with IndexDamageError. */
async function compare(store: LocalDeploymentStore, expected: Version): Promise<Outcome> {
  let bad = false;
  for (let b = 0; b < BLOCKS; b++) {
    const cell = expected.cells[b];
    try {
      const { orders, batch } = await store.read(b as never, 1);
      expect(batch.payload.toString()).toBe(cell?.text ?? '');
      expect(`${orders[0]!.epoch}/${orders[0]!.sequence}`).toBe(cell?.order ?? '0/0');
    } catch (error) {
      if (!(error instanceof BadBlockError)) throw error;
      expect(error.blocks[0]!.block).toBe(b);
      bad = true;
    }
  }
  return bad ? 'bad blocks' : 'right';
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

const SECTOR = 512;
const LARGE_BLOCKS = 3_000;

/** Some thousand blocks in an index of three levels, of which the log's beginning has gone; closed. */
async function buildLarge(): Promise<{ sim: SimDisk; texts: string[] }> {
  const sim = new SimDisk({ random: seeded(5) });
  const settings = { segmentBytes: 100_000, reclaimBytes: 100_000, indexPageRows: 24 };
  const stores = await openStores(sim.mount(), { settings });
  const store = await stores.create({ ...newDeployment, blocks: LARGE_BLOCKS });
  const texts: string[] = new Array(LARGE_BLOCKS).fill('');
  const random = seeded(6);
  for (let version = 1; version <= 400; version++) {
    const first = Math.floor(random.next() * (LARGE_BLOCKS - 20));
    const numbers = Array.from({ length: 20 }, (_, i) => first + i);
    if (version % 9 === 0) {
      writeTo(store, { block: first, zero: 20 });
      texts.fill('', first, first + 20);
      continue;
    }
    writeTo(store, ...numbers.map((number) => data(number, version, 200)));
    for (const number of numbers) texts[number] = content(number, version, 200).toString();
    if (version % 50 === 0) await store.flush();
  }
  await stores.close();
  return { sim, texts };
}

/** Bits that flip, sectors of zeroes, and sectors that were written to another place. */
function damageAtRandom(disk: SimDisk, random: Random): void {
  const files = disk.files().filter((path) => !path.endsWith('/device'));
  for (let n = 1 + Math.floor(random.next() * 6); n > 0; n--) {
    const path = files[Math.floor(random.next() * files.length)]!;
    const bytes = Uint8Array.from(disk.contents(path));
    const at = Math.floor(random.next() * bytes.length);
    const kind = random.next();
    if (kind < 0.4) {
      disk.damage(path, at, (byte) => byte ^ (1 << Math.floor(random.next() * 8)));
      continue;
    }
    const to = at - (at % SECTOR);
    const from = Math.floor((random.next() * bytes.length) / SECTOR) * SECTOR;
    for (let i = 0; i < SECTOR && to + i < bytes.length; i++) {
      disk.damage(path, to + i, () => (kind < 0.7 ? 0 : (bytes[from + i] ?? 0)));
    }
  }
}

/** Blocks that could be read, all rightly, and others. Rejects with IndexDamageError. */
async function readAll(store: LocalDeploymentStore, texts: readonly string[]): Promise<{ right: number; bad: number }> {
  const found = { right: 0, bad: 0 };
  for (const [number, text] of texts.entries()) {
    try {
      const { batch } = await store.read(number as never, 1);
      expect(batch.payload.toString(), `block ${number}`).toBe(text);
      found.right++;
    } catch (error) {
      if (!(error instanceof BadBlockError)) throw error;
      found.bad++;
    }
  }
  return found;
}

async function damageOften(counts: Record<string, number>): Promise<void> {
  const { sim, texts } = await buildLarge();
  const add = (name: string, n: number): void => {
    counts[name] = (counts[name] ?? 0) + n;
  };
  for (let round = 0; round < DAMAGES; round++) {
    const disk = sim.clone(seeded(1));
    damageAtRandom(disk, seeded(SEED * 1_000_003 + round));
    const stores = await openStores(disk.mount(), { settings: { indexPageRows: 24 } });
    try {
      let store = await stores.open(DEPLOYMENT);
      const found = await readAll(store, texts).catch(async (error: unknown) => {
        if (!(error instanceof IndexDamageError)) throw error;
        store = await stores.open(DEPLOYMENT);
        return readAll(store, texts);
      });
      if (store.damages.some(({ path }) => path.endsWith('/pages'))) add('indexesRepaired', 1);
      add('badBlocks', found.bad);
    } catch (error) {
      const reported = error instanceof StoreCorruptError || error instanceof NoSuchDeploymentError;
      if (!reported) throw new Error(`CRASH_SEED=${SEED}, damage ${round}`, { cause: error });
      add('refused', 1);
    }
    add('damages', 1);
  }
}

it(`a larger store, damaged at random ${DAMAGES} times: never wrong data`, async () => {
  const command = `npm run crash -- --kills 0 --states 0 --damages ${DAMAGES} --seed ${SEED}`;
  await recorded('corruption', command, async (counts) => {
    await damageOften(counts);
    expect(counts.badBlocks).toBeGreaterThan(DAMAGES);
    expect(counts.indexesRepaired).toBeGreaterThan(DAMAGES / 20);
    expect(counts.refused ?? 0).toBeLessThan(DAMAGES / 3);
  });
});

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
        'index repaired': 0,
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
      expect(outcomes['index repaired']).toBeGreaterThan(100);
      expect(outcomes.refused).toBeGreaterThan(20);
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
