/** Situations in which a walk begins, and which it would hardly come to by chance. */

import type { SeededRandom } from '../scheduler.js';
import type { Stage } from './stage.js';

/**
 * `alone`: the primary has lost its members. `returned`: one of them is back, and lacks writes. `behind`: one has been
 * sent more than the other. `tail`: a primary is gone whose last writes only one of the others has.
 */
export const BEGINNINGS = ['whole', 'whole', 'alone', 'returned', 'behind', 'tail'] as const;
type Beginning = (typeof BEGINNINGS)[number];

const ROUNDS = 60;

export async function begin(beginning: Beginning, stage: Stage, random: SeededRandom): Promise<void> {
  if (beginning === 'whole') return;
  const [primary, ...others] = stage.nodes;
  const [spared, struck] = random.chance(0.5) ? others : others.toReversed();
  const client = stage.attach(random.chance(0.5) ? primary! : spared!);
  client.write(0, 2);
  await settleUntil(stage, () => client.pending === 0);
  if (beginning === 'alone') {
    for (const other of others) stage.links.cut(primary!.name, other.name, () => 0);
    if (client.node !== primary) client.disconnect(() => 0);
    await settleUntil(stage, () => stage.etcd.record?.inSync.length === 1);
    return;
  }
  if (beginning === 'returned') {
    stage.crash(struck!, random.chance(0.5), () => 0);
    await settleUntil(stage, () => stage.etcd.record?.inSync.length === 2);
    client.write(1, 2);
    if (random.chance(0.5)) client.write(3, 1, true);
    await settleUntil(stage, () => client.pending === 0);
    await stage.start(struck!);
    stage.connectAll();
    await stage.settle();
    return;
  }
  // What is sent to one of them stays on its way.
  stage.links.hold(primary!.name, struck!.name);
  client.write(1, 1);
  client.write(2, 2, random.chance(0.3));
  await stage.settle();
  if (beginning === 'tail') {
    stage.crash(primary!, random.chance(0.3), () => 0);
    if (random.chance(0.7)) stage.links.cut(spared!.name, struck!.name, () => 0);
  }
}

async function settleUntil(stage: Stage, done: () => boolean): Promise<void> {
  await stage.settle();
  for (let round = 0; round < ROUNDS && !done(); round++) {
    await stage.pass();
    await stage.settle();
  }
}
