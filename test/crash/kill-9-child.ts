/** The process that kill-9.test.ts kills: appends for ever and says after each append how far it is, in the file `told`. */

import { openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock, systemRandom } from '../../node-agent/clock.js';
import { openFileDisk } from '../../node-agent/store/index.js';
import { DEPLOYMENT, epoch, openStores, sequence } from '../unit/store/support.js';
import { batchAt, KILL_SETTINGS } from './kill-9-plan.js';

const root = process.env.KILL_9_ROOT;
if (root === undefined) throw new Error('KILL_9_ROOT must name the data root');

const stores = await openStores(openFileDisk(root), {
  clock: systemClock,
  random: systemRandom,
  settings: KILL_SETTINGS,
});
const store = await stores.open(DEPLOYMENT);
const told = openSync(join(root, 'told'), 'w');
let flushes = 0;
for (;;) {
  const next = store.last.sequence + 1;
  const batch = batchAt(next);
  store.append({ epoch: epoch(1), firstSequence: sequence(next), batch });
  const last = store.last.sequence;
  // From then on the end of the process loses none of it.
  void store.written().then(() => writeSync(told, `${last}\n`, 0));
  if (next % 7 === 0) {
    flushes++;
    void store.flush().then(() => flushes--);
  }
  if (next % 3 === 0 || flushes > 4) await new Promise((resolve) => setImmediate(resolve));
}
