/**
 * A torn tail that is cut off may be all that says how far the log before it was durable: a block that rots there later
 * must not pass for torn, whatever moment of the opening the power failed at.
 */

import { expect, test } from 'vitest';
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
