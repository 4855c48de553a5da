/**
 * A torn tail that is cut off may be all that says how far the log before it was durable: a block that rots there later
 * must not pass for torn, whatever moment of the opening the power failed at.
 */

import { expect, onTestFinished, test, vi } from 'vitest';
import { type Superblock, SuperblockFile } from '../../../node-agent/store/superblock.js';
import { provenPayloads } from '../../sim/damage.js';
import { SimDisk } from '../../sim/sim-disk.js';
import { DEPLOYMENT, data, newDeployment, openStores, seeded, writeTo } from './support.js';

const DRAWS = 60;
/** More operations than an opening has. */
const LONGEST = 40;
/** Of the event loop, which an opening takes at the most. */
const TURNS = 200;
const FLUSHED = 3;

/** Three writes that were flushed, and three that were not, cut off from power. */
async function tornLog(seed: number): Promise<SimDisk> {
  const sim = new SimDisk({ random: seeded(seed) });
  const store = await (await openStores(sim.mount())).create(newDeployment);
  for (let version = 1; version <= FLUSHED; version++) {
    writeTo(store, data(version, version));
    await store.flush();
  }
  for (let version = FLUSHED + 1; version <= FLUSHED + 3; version++) writeTo(store, data(version, version, 2_000));
  await store.written();
  sim.crash({ power: true });
  return sim;
}

test('the power fails in the middle of an opening that cuts it, and a block before it rots', async () => {
  let cutShort = 0;
  for (let draw = 1; draw <= DRAWS; draw++) {
    const origin = await tornLog(draw);
    // Only the headers of what was not flushed can say that the third write was.
    const place = provenPayloads(origin)[FLUSHED - 1];
    if (place === undefined) continue;
    for (let end = 1; end < LONGEST; end++) {
      const sim = origin.clone(seeded(draw * LONGEST + end));
      let operations = 0;
      sim.onOperation = () => {
        if (++operations === end) sim.crash({ power: true });
      };
      let isOpen = false;
      const opening = openStores(sim.mount(), { bootId: 'boot-2' }).then((stores) => stores.open(DEPLOYMENT));
      opening.then(
        () => {
          isOpen = true;
        },
        () => {},
      );
      for (let turn = 0; turn < TURNS && !isOpen; turn++) await new Promise((resolve) => setImmediate(resolve));
      sim.onOperation = () => {};
      if (isOpen) break;
      cutShort++;
      sim.damage(place.path, place.position, (byte) => byte ^ 1);
      const store = await (await openStores(sim.mount(), { bootId: 'boot-3' })).open(DEPLOYMENT);
      expect(store.last.sequence, `draw ${draw}, operation ${end}`).toBeGreaterThanOrEqual(FLUSHED);
    }
  }
  expect(cutShort).toBeGreaterThan(0);
});

test('an opening that has given out numbers of checkpoints does not take back that there was one', async () => {
  const settings = { checkpointEntries: 1e9, checkpointBytes: 1e12 };
  const written: Superblock[] = [];
  const write = SuperblockFile.prototype.write;
  const spy = vi.spyOn(SuperblockFile.prototype, 'write').mockImplementation(function (
    this: SuperblockFile,
    superblock,
  ) {
    written.push(superblock);
    return write.call(this, superblock);
  });
  onTestFinished(() => spy.mockRestore());
  let both = 0;
  for (let seed = 1; seed <= 12; seed++) {
    const sim = new SimDisk({ random: seeded(seed) });
    const store = await (await openStores(sim.mount(), { settings })).create(newDeployment);
    // More than the index may have in memory, so that the opening writes pages.
    for (let batch = 0; batch < 40; batch++) {
      const blockOf = (i: number): number => ((batch * 7_919 + i * 104_729) % 100_000) * 2;
      writeTo(store, ...Array.from({ length: 200 }, (_, i) => data(blockOf(i), batch, 20)));
    }
    await store.flush();
    for (let block = 0; block < 3; block++) writeTo(store, data(block, 99, 2_000));
    await store.written();
    sim.crash({ power: true });
    written.length = 0;
    const stores = await openStores(sim.mount(), { settings, indexCacheBytes: 64 * 1024, bootId: 'boot-2' });
    await stores.open(DEPLOYMENT);
    const openings = written.map(({ opening }) => opening);
    expect(openings, `seed ${seed}`).toEqual(openings.map(() => Math.max(...openings)));
    if (written.length > 2) both++;
  }
  expect(both).toBeGreaterThan(0);
});
