/** Of a superblock's copies one that counts is on the disk at every moment, however often its writers end in the middle. */

import { expect, test } from 'vitest';
import type { Random } from '../../../core/ports.js';
import type { BlockNumber } from '../../../core/types.js';
import { type Superblock, SuperblockFile } from '../../../node-agent/store/superblock.js';
import { SimDisk } from '../../sim/sim-disk.js';
import { epoch, newDeployment, openStores, order, seeded } from './support.js';

const DIRECTORY = 'data/db1/1';
/** More operations than an update has. */
const LONGEST = 10;
/** Of the event loop, which an update takes at the most. */
const TURNS = 40;
/** Of what a power cut leaves. */
const DRAWS = 40;

/** Each write that was not synced is torn, with a sector of two that is not there, or lost, half of them each. */
function tearing(seed: number): Random {
  const random = seeded(seed);
  return { uuid: () => random.uuid(), next: () => (random.next() < 0.5 ? 0.45 : 0.7) };
}

async function read(sim: SimDisk) {
  const found = await SuperblockFile.read(sim.mount(), DIRECTORY);
  if (!('superblock' in found)) throw new Error(found.damages.map(({ path, what }) => `${path}: ${what}`).join('; '));
  return found;
}

/** A process that begins an update, and ends, alone or with its machine, before its `end`-th operation; whether it was done. */
async function update(sim: SimDisk, promised: number, end: number, power: boolean): Promise<boolean> {
  const { file, superblock } = await read(sim);
  let operations = 0;
  sim.onOperation = () => {
    if (++operations === end) sim.crash({ power });
  };
  let done = false;
  // At the end of the body: what changes is in both of its sectors.
  const syncRegions = [{ below: promised as BlockNumber, upTo: order(1, promised) }];
  const written = file
    .write({ ...superblock, promised: epoch(promised), syncRegions } satisfies Superblock)
    .then(() => {
      done = true;
    });
  written.catch(() => {});
  // What a crash has cut off is never answered.
  for (let turn = 0; turn < TURNS && !done; turn++) await new Promise((resolve) => setImmediate(resolve));
  sim.onOperation = () => {};
  sim.crash({ power });
  return done;
}

test.each([
  { first: 'killed', power: false },
  { first: 'cut off from power', power: true },
])(
  'a writer is $first in the middle of an update, and the next one loses power in the middle of its own',
  async ({ power }) => {
    const origin = new SimDisk({ random: seeded(1) });
    const stores = await openStores(origin.mount());
    await stores.create(newDeployment);
    await stores.close();
    let cutShort = 0;
    for (let first = 1; first < LONGEST; first++) {
      for (let second = 1; second < LONGEST; second++) {
        for (let draw = 0; draw < DRAWS; draw++) {
          const sim = origin.clone(tearing((first * LONGEST + second) * DRAWS + draw));
          const done = [await update(sim, 1, first, power), await update(sim, 2, second, true)];
          const { promised } = (await read(sim)).superblock;
          expect(promised).toBeGreaterThanOrEqual(done[1] ? 2 : done[0] ? 1 : 0);
          if (!done[0] && !done[1]) cutShort++;
        }
      }
    }
    expect(cutShort).toBeGreaterThan(100);
  },
);
