/** Situations in which a walk begins, and which it would hardly come to by chance. */

import type { SeededRandom } from '../scheduler.js';
import { type StepNode, VOLUME_BLOCKS } from './node.js';
import type { Stage } from './stage.js';

/**
 * `alone`: the primary has lost its members. `returned`: one of them is back, and lacks writes. `behind`: one has been
 * sent more than the other. `tail`: a primary is gone whose last writes only one of the others has. `synced`: somebody
 * crashes in the middle of a sync. `joining`: or while the swap at its end is under way. `split`: another primary is
 * named while the present one, which hears nothing of that, has its leases. `backlog`: the volume is attached elsewhere
 * while writes wait for their order.
 */
export const BEGINNINGS = [
  'whole',
  'whole',
  'alone',
  'returned',
  'behind',
  'tail',
  'synced',
  'joining',
  'split',
  'backlog',
] as const;
type Beginning = (typeof BEGINNINGS)[number];

const ROUNDS = 60;
/** Steps of a sync before somebody crashes, at most. */
const SYNC_STEPS = 40;
const JOIN_STEPS = 300;
/** Of time, in which another primary takes over. */
const FAILOVER_ROUNDS = 20;

export async function begin(beginning: Beginning, stage: Stage, random: SeededRandom): Promise<void> {
  if (beginning === 'whole') return;
  const [primary, ...others] = stage.nodes;
  const [spared, struck] = random.chance(0.5) ? others : others.toReversed();
  const client = stage.attach(random.chance(0.5) ? primary! : spared!);
  client.write(0, 2);
  await settleUntil(stage, () => client.pending === 0);
  if (beginning === 'alone') {
    stage.cutOff(primary!, () => 0);
    await settleUntil(stage, () => stage.etcd.record?.inSync.length === 1);
    return;
  }
  if (beginning === 'returned' || beginning === 'synced' || beginning === 'joining') {
    const gone = beginning === 'returned' || client.node === spared || random.chance(0.5) ? [struck!] : others;
    const cut = random.chance(0.4);
    for (const node of gone) {
      if (cut) stage.cutOff(node, () => 0);
      else stage.crash(node, random.chance(0.3), () => 0);
    }
    await settleUntil(stage, () => stage.etcd.record?.inSync.length === 3 - gone.length);
    client.write(1, 2);
    if (random.chance(0.5)) client.write(3, 1, true);
    await settleUntil(stage, () => client.pending === 0);
    stage.heal();
    await stage.start(struck!);
    stage.connectAll();
    await stage.settle();
    if (beginning !== 'returned') await crashInSync(beginning, stage, random, primary!, struck!);
    return;
  }
  if (beginning === 'split') {
    stage.mute(primary!);
    stage.look('suspect');
    for (let round = random.int(0, FAILOVER_ROUNDS); round >= 0; round--) {
      await stage.settle();
      await stage.pass();
    }
    return;
  }
  if (beginning === 'backlog') {
    for (const other of others) stage.links.hold(other.name, primary!.name);
    for (let block = VOLUME_BLOCKS - 1; block >= 0; block--) client.write(block, 1);
    await stage.settle();
    const next = stage.attach(spared!);
    await stage.settle();
    for (let block = 0; block < VOLUME_BLOCKS / 2; block++) next.read(block, 1);
    stage.heal();
    return;
  }
  // What is sent to one of them stays on its way.
  stage.links.hold(primary!.name, struck!.name);
  client.write(1, 1);
  client.write(2, 2, random.chance(0.3));
  client.read(1, 1);
  await stage.settle();
  if (beginning === 'tail') {
    stage.crash(primary!, random.chance(0.3), () => 0);
    if (random.chance(0.7)) stage.cut(spared!, struck!, () => 0);
  }
}

/** The target, or its source, at any step of the sync, or of the swap that adds the target. */
async function crashInSync(
  moment: 'synced' | 'joining',
  stage: Stage,
  random: SeededRandom,
  source: StepNode,
  target: StepNode,
): Promise<void> {
  const { queues } = stage;
  stage.look('look');
  const swapping = (): boolean => stage.controller.syncing && queues.length(`${source.name}>etcd`) > 0;
  for (let step = 0; step < (moment === 'synced' ? random.int(5, SYNC_STEPS) : JOIN_STEPS); step++) {
    if (moment === 'joining' && swapping()) break;
    await anyStep(stage, random);
  }
  if (random.chance(0.7)) stage.client!.write(0, 1);
  if (random.chance(0.3)) stage.client!.flush();
  const behind = random.int(0, 12);
  for (let step = 0; step < behind; step++) await anyStep(stage, random);
  const lost = random.chance(0.5);
  stage.crash(random.chance(0.5) ? source : target, random.chance(0.6), () => (lost ? 0 : Number.POSITIVE_INFINITY));
  if (random.chance(0.5)) return;
  for (let round = 0; round < FAILOVER_ROUNDS; round++) {
    stage.look('look');
    await stage.settle();
    await stage.pass();
  }
}

async function anyStep(stage: Stage, random: SeededRandom): Promise<void> {
  const ready = stage.queues.ready();
  if (ready.length > 0 && random.chance(0.7)) return stage.take(random.pick(ready));
  const node = random.pick(stage.nodes.filter(({ up }) => up));
  if (ready.length > 0 || random.chance(0.7)) return stage.disk(node);
  await stage.pass();
}

async function settleUntil(stage: Stage, done: () => boolean): Promise<void> {
  await stage.settle();
  for (let round = 0; round < ROUNDS && !done(); round++) {
    await stage.pass();
    await stage.settle();
  }
}
