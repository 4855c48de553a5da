/** Situations in which a walk begins, and which it would hardly come to by chance. */

import type { ReplicationSettings } from '../../../core/replication/settings.js';
import type { SeededRandom } from '../scheduler.js';
import type { StepClient } from './client.js';
import { type StepNode, VOLUME_BLOCKS } from './node.js';
import type { Stage } from './stage.js';

/** A volume in use, and the parts in what is about to happen to it. */
interface Scene {
  readonly stage: Stage;
  readonly random: SeededRandom;
  readonly primary: StepNode;
  readonly spared: StepNode;
  readonly struck: StepNode;
  /** On the primary's node or the spared one. */
  readonly client: StepClient;
}

/** Rounds of everything in its order and a step of time: for what is waited for, and for another primary to take over. */
const ROUNDS = 60;
const FAILOVER_ROUNDS = 20;
/** Steps of a sync before somebody crashes, at most; steps until the swap at its end is under way. */
const SYNC_STEPS = 40;
const JOIN_STEPS = 300;
/** Of reads while a backlog is worked off. */
const BACKLOG_STEPS = 120;
/** Of some ten. */
const ROTTEN_PAYLOADS = 3;
/** Until the target of a sync remembers how far it has come. */
const MARK_STEPS = 400;

const NOTHING_ARRIVES = (): number => 0;
const ALL_ARRIVES = (): number => Number.POSITIVE_INFINITY;

interface Situation {
  readonly begin: (scene: Scene) => Promise<void>;
  /** Without which it would come to something else. */
  readonly settings?: Partial<ReplicationSettings>;
}

const SITUATIONS: readonly Situation[] = [
  { begin: alone },
  { begin: undecided },
  { begin: returned },
  { begin: crashInSync },
  { begin: crashBehindMark },
  { begin: lostStream, settings: { syncParallel: 1, maxUnconfirmedBytes: 1, maxInFlightWrites: 16 } },
  { begin: deadMark, settings: { syncParallel: 1 } },
  { begin: lateBlock, settings: { syncParallel: 8 } },
  { begin: crashInJoin },
  { begin: unknownJoin },
  { begin: blackoutBehindJoin },
  { begin: split },
  { begin: forgotten, settings: { leaseMs: 200, openTimeoutMs: 20 } },
  { begin: backlog },
  { begin: fenced },
  { begin: fencedBeforeJoin },
  { begin: behind },
  { begin: tail },
  { begin: shorterCandidate },
];
/** Share of the walks that begin with a volume that nobody has used. */
const UNUSED = 0.2;

/** Undefined: nobody uses the volume yet. */
export function drawSituation(random: SeededRandom): Situation | undefined {
  return random.chance(UNUSED) ? undefined : random.pick(SITUATIONS);
}

export async function bringAbout({ begin }: Situation, stage: Stage, random: SeededRandom): Promise<void> {
  const [primary, ...others] = stage.nodes as [StepNode, StepNode, StepNode];
  const [spared, struck] = random.chance(0.5) ? others : (others.toReversed() as [StepNode, StepNode]);
  const client = stage.attach(random.chance(0.5) ? primary : spared);
  client.write(0, 2);
  await until(stage, () => client.pending === 0);
  stage.trace('stage', `begins with ${begin.name}, ${struck.name} struck`);
  await begin({ stage, random, primary, spared, struck, client });
}

/** The primary has lost its members. */
async function alone({ stage, primary }: Scene): Promise<void> {
  stage.cutOff(primary, NOTHING_ARRIVES);
  await until(stage, () => stage.etcd.record?.inSync.length === 1);
}

/** It would remove them, and does not know whether it has: then it dies, and did not. */
async function undecided({ stage, primary, client, random }: Scene): Promise<void> {
  const request = `${primary.name}>etcd`;
  stage.queues.block(request);
  stage.cutOff(primary, NOTHING_ARRIVES);
  await until(stage, () => stage.etcd.waiting.includes(primary.name));
  if (random.chance(0.5)) stage.etcd.loseAnswer(primary.name);
  client.write(0, 1);
  client.write(1, 1);
  for (let round = random.int(0, 6); round >= 0; round--) await turn(stage);
  stage.crash(primary, false, NOTHING_ARRIVES);
  stage.queues.cut(request, 0);
  stage.queues.unblock(request);
  await failOver(stage);
}

/** A member is back, and lacks writes; perhaps it is the only one beside the primary. */
async function returned(scene: Scene): Promise<void> {
  const { spared, struck, client, random } = scene;
  await returnedAfter(scene, client.node === spared || random.chance(0.5) ? [struck] : [spared, struck]);
}

async function returnedAfter(
  { stage, primary, spared, struck, client, random }: Scene,
  gone: readonly StepNode[],
): Promise<void> {
  const cut = random.chance(0.4);
  for (const node of gone) {
    if (cut) stage.cutOff(node, NOTHING_ARRIVES);
    else stage.crash(node, random.chance(0.3), NOTHING_ARRIVES);
  }
  await until(stage, () => stage.etcd.record?.inSync.length === 3 - gone.length);
  client.write(1, 2);
  if (random.chance(0.5)) client.write(3, 1, true);
  await until(stage, () => client.pending === 0);
  stage.links.heal();
  await stage.start(struck);
  for (const [a, b] of stage.links.connectable()) {
    if ([a, b].some(({ name }) => name === struck.name) || !gone.includes(spared)) stage.links.connect(a, b);
  }
  stage.trace('stage', `${struck.name} is back at ${primary.name}`);
  await stage.settle();
}

/** Source or target of a sync crashes in the middle of it. */
async function crashInSync(scene: Scene): Promise<void> {
  const { stage, random } = scene;
  await returned(scene);
  stage.look('look');
  for (let step = random.int(5, SYNC_STEPS); step > 0; step--) await anyStep(stage, random);
  await crashOfOne(scene);
}

/** The same when the target remembers how far the sync has come. */
async function crashBehindMark(scene: Scene): Promise<void> {
  await returned(scene);
  await syncUntilMarked(scene);
  await crashOfOne(scene);
}

/** What changed during the sync was passed over, has not come with the stream, and is dead as nobody else has it. */
async function lostStream(scene: Scene): Promise<void> {
  const { stage, primary, spared, struck } = scene;
  await returnedAfter(scene, [struck]);
  // Whose requests end with the primary, and are not sent again.
  const client = stage.attach(primary);
  client.read(0, 1);
  await until(stage, () => client.pending === 0);
  await syncUntilMarked(scene, 3, () => {
    stage.links.hold(primary.name, spared.name);
    // The last one waits for the others to be confirmed.
    for (const block of [0, 4, 5, 2]) client.write(block, 1);
  });
  await leaveToOthers(scene);
}

/** What the target remembers is of a stream whose end all others lose, and other writes have its numbers. */
async function deadMark(scene: Scene): Promise<void> {
  const { stage, primary, spared, struck, client } = scene;
  await returnedAfter(scene, [struck]);
  for (const block of [1, 2, 1, 2]) {
    client.write(block, 1);
    await until(stage, () => client.pending === 0);
  }
  await syncUntilMarked(scene, VOLUME_BLOCKS);
  for (const node of [primary, spared]) stage.crash(node, true, NOTHING_ARRIVES);
  for (const node of [primary, spared]) await stage.start(node);
  stage.connectAll();
  await failOver(stage);
  const next = stage.attach(primary);
  for (const block of [4, 5, 6]) next.write(block, 1);
  await until(stage, () => next.pending === 0);
}

/** The source cannot read some blocks, and whom it asks for them does not answer: those behind them are there first. */
async function lateBlock(scene: Scene): Promise<void> {
  const { stage, primary, spared, struck, client, random } = scene;
  await returnedAfter(scene, [struck]);
  client.write(4, 3);
  await until(stage, () => client.pending === 0);
  // The second time the log itself says of what was flushed before that it was.
  for (const block of [7, 7]) {
    client.flush();
    await until(stage, () => client.pending === 0);
    client.write(block, 1);
    await until(stage, () => client.pending === 0);
  }
  for (let rotten = 0; rotten < ROTTEN_PAYLOADS; rotten++) primary.rot(random);
  await syncUntilMarked(scene, 3, () => stage.links.hold(primary.name, spared.name));
  await leaveToOthers(scene);
}

/** `copying` is called when the sync has ordered its generation, and is about to send blocks. */
async function syncUntilMarked(
  { stage, primary, spared, struck, random }: Scene,
  below = 1,
  copying = (): void => {},
): Promise<void> {
  const last = (node: StepNode): number => node.store?.last.sequence ?? 0;
  const before = last(primary);
  let called = false;
  stage.look('look');
  for (let step = 0; step < MARK_STEPS; step++) {
    const [region] = struck.store?.state.syncRegions ?? [];
    if (region !== undefined && region.below >= below) return;
    if (!called && last(spared) > before) {
      called = true;
      copying();
    }
    await anyStep(stage, random);
  }
}

/** The primary is gone, and nothing that was on its way arrives. */
async function leaveToOthers({ stage, primary }: Scene): Promise<void> {
  stage.crash(primary, false, NOTHING_ARRIVES);
  await failOver(stage);
}

/** The same while the swap that adds the target is under way. */
async function crashInJoin(scene: Scene): Promise<void> {
  await returned(scene);
  await join(scene);
  await crashOfOne(scene);
}

/** Nobody knows whether that swap takes effect; it does, and the primary is gone with what it has acknowledged since. */
async function unknownJoin(scene: Scene): Promise<void> {
  const { stage, primary, struck, client, random } = scene;
  await returned(scene);
  await join(scene);
  const request = `${primary.name}>etcd`;
  stage.queues.block(request);
  stage.links.hold(primary.name, struck.name);
  if (random.chance(0.5)) stage.etcd.loseAnswer(primary.name);
  client.write(0, 1);
  for (let round = random.int(0, 3); round >= 0; round--) await turn(stage);
  stage.queues.unblock(request);
  stage.queues.block(`etcd>${primary.name}`);
  stage.queues.block(`watch>${primary.name}`);
  await stage.settle();
  stage.crash(primary, false, NOTHING_ARRIVES);
  stage.queues.unblock(`etcd>${primary.name}`);
  stage.queues.unblock(`watch>${primary.name}`);
  await failOver(stage);
}

async function join({ stage, primary, random }: Scene): Promise<void> {
  stage.look('look');
  const swapping = (): boolean => stage.controller.syncing && stage.etcd.waiting.includes(primary.name);
  for (let step = 0; step < JOIN_STEPS && !swapping(); step++) await anyStep(stage, random);
}

/** A copy has joined, and all lose power before anybody flushes again: who is chosen then has what was flushed before. */
async function blackoutBehindJoin(scene: Scene): Promise<void> {
  const { stage, struck, client } = scene;
  await returned(scene);
  client.flush();
  await until(stage, () => client.pending === 0);
  client.write(0, 1);
  await until(stage, () => client.pending === 0);
  stage.look('look');
  await until(stage, () => stage.etcd.record?.inSync.includes(struck.placement.deployment) === true);
  for (const node of stage.nodes) stage.crash(node, true, NOTHING_ARRIVES);
}

async function crashOfOne({ stage, primary, struck, client, random }: Scene): Promise<void> {
  if (random.chance(0.7)) client.write(0, 1);
  if (random.chance(0.3)) client.flush();
  for (let step = random.int(0, 12); step > 0; step--) await anyStep(stage, random);
  const node = random.chance(0.5) ? primary : struck;
  stage.crash(node, random.chance(0.6), random.chance(0.5) ? NOTHING_ARRIVES : ALL_ARRIVES);
  if (random.chance(0.5)) await failOver(stage);
}

/** Another primary is named while the present one, which hears nothing of that, has its leases. */
async function split(scene: Scene): Promise<void> {
  const { stage, primary, random } = scene;
  if (random.chance(0.5)) return lateLeases(scene);
  stage.mute(primary);
  stage.look('suspect');
  for (let round = random.int(0, FAILOVER_ROUNDS); round >= 0; round--) await turn(stage);
}

/** The answers with which it would have leases come when another primary serves. */
async function lateLeases({ stage, primary, spared, struck }: Scene): Promise<void> {
  for (const { name } of [spared, struck]) stage.links.hold(name, primary.name);
  await turn(stage);
  stage.mute(primary);
  stage.look('suspect');
  await until(stage, () => [spared, struck].some((node) => node.status()?.serving === true));
  for (const { name } of [spared, struck]) stage.queues.unblock(`${name}>${primary.name}`);
  await stage.settle();
}

/** The same, and who is named has granted one of these leases in an earlier life. */
async function forgotten({ stage, primary, struck }: Scene): Promise<void> {
  stage.mute(primary);
  stage.crash(struck, false, NOTHING_ARRIVES);
  // That the connection has ended is no news yet either.
  stage.queues.block(`${struck.name}>${primary.name}`);
  await stage.start(struck);
  for (const [a, b] of stage.links.connectable()) {
    if (a.name !== primary.name && b.name !== primary.name) stage.links.connect(a, b);
  }
  stage.look('suspect');
  await stage.settle();
  for (let round = 0; round < FAILOVER_ROUNDS; round++) await turn(stage);
}

/** The volume is attached elsewhere while writes wait for their order. */
async function backlog({ stage, primary, spared, struck, client, random }: Scene): Promise<void> {
  for (const other of [spared, struck]) stage.links.hold(other.name, primary.name);
  for (let block = VOLUME_BLOCKS - 1; block >= 0; block--) client.write(block, 1);
  await stage.settle();
  const next = stage.attach(spared);
  await stage.settle();
  stage.heal();
  for (let step = 0; step < BACKLOG_STEPS; step++) {
    if (next.alive && next.pending < 2) next.read(random.int(0, VOLUME_BLOCKS - 1), 1);
    await anyStep(stage, random);
  }
}

/** An attachment that has not heard that it is fenced has a write to send again, when another primary takes over. */
async function fenced({ stage, primary, spared, client }: Scene): Promise<void> {
  const old = client.node === spared ? client : stage.attach(spared);
  old.read(0, 1);
  await until(stage, () => old.pending === 0);
  old.mute();
  old.write(0, 1);
  await readTwice(stage, stage.attach(primary));
  stage.crash(primary, false, NOTHING_ARRIVES);
  await failOver(stage);
}

/** What the second one sees must stay: the first has settled that nothing of an older attachment comes any more. */
async function readTwice(stage: Stage, client: StepClient): Promise<void> {
  for (let read = 0; read < 2; read++) {
    client.read(0, 1);
    await until(stage, () => client.pending === 0);
  }
}

/** The same, and who takes over has joined since. */
async function fencedBeforeJoin(scene: Scene): Promise<void> {
  const { stage, primary, spared, struck, client } = scene;
  const old = client.node === spared ? client : stage.attach(spared);
  old.read(0, 1);
  await until(stage, () => old.pending === 0);
  stage.cutOff(primary, NOTHING_ARRIVES);
  old.write(0, 1);
  await until(stage, () => stage.etcd.record?.inSync.length === 1);
  await readTwice(stage, stage.attach(primary));
  stage.links.heal();
  // The fenced one does not reach who would tell it so.
  stage.cut(primary, spared, NOTHING_ARRIVES);
  for (const [a, b] of stage.links.connectable()) {
    if (a.name !== spared.name && b.name !== spared.name) stage.links.connect(a, b);
  }
  await stage.settle();
  stage.look('look');
  await until(stage, () => stage.etcd.record?.inSync.includes(struck.placement.deployment) === true);
  stage.crash(primary, false, NOTHING_ARRIVES);
  await failOver(stage);
}

/** One member has been sent more than the other. */
async function behind({ stage, primary, struck, client, random }: Scene): Promise<void> {
  stage.links.hold(primary.name, struck.name);
  client.write(1, 1);
  client.write(2, 2, random.chance(0.3));
  client.read(1, 1);
  await stage.settle();
}

/** The primary is gone, whose last writes only one of the others has; perhaps these two do not reach each other. */
async function tail(scene: Scene): Promise<void> {
  const { stage, primary, spared, struck, random } = scene;
  await behind(scene);
  stage.crash(primary, random.chance(0.3), NOTHING_ARRIVES);
  if (random.chance(0.7)) stage.cut(spared, struck, NOTHING_ARRIVES);
}

/** And the one that lacks them is named, as the other one has not answered. */
async function shorterCandidate(scene: Scene): Promise<void> {
  const { stage, spared, struck, random } = scene;
  await behind(scene);
  stage.crash(scene.primary, random.chance(0.3), NOTHING_ARRIVES);
  if (random.chance(0.3)) stage.cut(spared, struck, NOTHING_ARRIVES);
  stage.queues.block(`controller>${spared.name}`);
  stage.look('look');
  await stage.settle();
  stage.controller.stopWaiting();
  stage.queues.cut(`controller>${spared.name}`, 0);
  stage.queues.unblock(`controller>${spared.name}`);
  for (let round = random.int(0, FAILOVER_ROUNDS); round > 0; round--) await turn(stage);
}

/** Whoever is down stays down. */
async function failOver(stage: Stage): Promise<void> {
  for (let round = 0; round < FAILOVER_ROUNDS; round++) {
    stage.look('look');
    await turn(stage);
  }
}

async function anyStep(stage: Stage, random: SeededRandom): Promise<void> {
  const ready = stage.queues.ready();
  if (ready.length > 0 && random.chance(0.7)) return stage.take(random.pick(ready));
  const node = random.pick(stage.nodes.filter(({ up }) => up));
  if (ready.length > 0 || random.chance(0.7)) return stage.disk(node);
  await stage.pass();
}

async function until(stage: Stage, done: () => boolean): Promise<void> {
  await stage.settle();
  for (let round = 0; round < ROUNDS && !done(); round++) await turn(stage);
}

async function turn(stage: Stage): Promise<void> {
  await stage.pass();
  await stage.settle();
}
