/** What must hold in a simulation: at any moment, and at its end, when all is healed and nobody does anything any more. */

import type { DeploymentStore, IndexedBlock } from '../../core/ports.js';
import { KIND_ZERO } from '../../core/record.js';
import type { PrimaryLoad } from '../../core/replication/primary.js';
import type { BlockNumber, DeploymentId } from '../../core/types.js';
import { lackOfInSync } from './in-sync.js';
import type { SimVolume } from './volume.js';
import type { World } from './world.js';

/** Generations that are ordered for sessions and syncs. */
const INTERNAL_ORDERS = 8;
/** Of the workload: five blocks of 64 bytes. */
const MAX_WRITE_BYTES = 320;
/** Small writes that are ordered together (core/replication/writes.ts), with their entries. */
const MAX_BATCH_BYTES = 160 << 10;
const READ_TIMEOUT_MS = 5_000;
/** For processes to end, and for their connections to be noticed gone. */
const SETTLING_MS = 30_000;
/** Frontends are closed, and what was on its way has arrived. */
const CLOSING_MS = 1_000;

/**
 * While one primary serves, no other does: leases. What a primary has under way is bounded, and what it counts as
 * committed is in every copy that counts as in sync.
 */
export function checkPrimaries(world: World, volume: SimVolume): void {
  const serving: string[] = [];
  const open = volume.openCopies;
  for (const { name, replicated } of open) {
    const { load } = replicated;
    if (load === undefined) continue;
    if (replicated.status().serving) serving.push(name);
    checkLoad(world, volume, load);
  }
  if (serving.length > 1) volume.problem(`two primaries serve: ${serving.join(', ')}`);
  const lack = volume.record && lackOfInSync(volume.record, open);
  if (lack !== undefined) volume.problem(lack);
}

/** What is asked for last may exceed a bound by itself: one write, one batch of joined ones, one piece of the log. */
function checkLoad({ settings }: World, volume: SimVolume, load: PrimaryLoad): void {
  const { maxInFlightWrites, maxInFlightBytes, maxUnconfirmedBytes, catchUpBytes } = settings;
  const bounds: Readonly<Record<keyof PrimaryLoad, number>> = {
    inFlightWrites: maxInFlightWrites + INTERNAL_ORDERS,
    inFlightBytes: maxInFlightBytes + MAX_WRITE_BYTES,
    unconfirmedBytes: maxUnconfirmedBytes + Math.max(catchUpBytes, MAX_BATCH_BYTES),
  };
  for (const [what, bound] of Object.entries(bounds) as [keyof PrimaryLoad, number][]) {
    if (load[what] > bound) volume.problem(`${what} is ${load[what]}, the bound is ${bound}`);
  }
}

/** What is placed nowhere is erased, or stays to be erased: else it would fill its disk for ever. */
export function checkLeftCopies(world: World, volume: SimVolume): void {
  const isPlaced = (deployment: DeploymentId): boolean =>
    volume.spec.placements.some((placed) => placed.deployment === deployment);
  for (const { name, disk } of world.nodes) {
    for (const { deployment, volume: of } of disk.copies) {
      if (of !== volume.id || isPlaced(deployment) || volume.tombstones.has(deployment)) continue;
      volume.problem(`${name} has a copy that is placed nowhere, without a tombstone`);
    }
  }
}

/** I6: all copies of a volume hold identical blocks under identical orders. */
export async function compareCopies(world: World, volume: SimVolume): Promise<void> {
  const all = Array.from({ length: volume.workload.volumeBlocks }, (_, block) => block as BlockNumber);
  const stores: DeploymentStore[] = volume.spec.placements.map(
    ({ deployment, node }) => world.node(node).copies.get(deployment)!.store,
  );
  const indexes = await settled(
    world,
    Promise.all(stores.map((store) => store.look(all, (lookup) => all.map((block) => identity(lookup(block)))))),
  );
  if (!Array.isArray(indexes)) {
    volume.problem(`the index of a copy cannot be read: ${indexes}`);
    return;
  }
  const [expected, ...others] = indexes;
  for (const found of others) {
    for (const block of all) {
      if (found[block] === expected![block]) continue;
      volume.problem(`copies differ in block ${block}: ${expected![block]} and ${found[block]}`);
    }
  }
  for (const store of stores) if (store.state.unclean) volume.problem('a copy in sync is unclean');
  const read = await settled(
    world,
    Promise.all(stores.map((store) => store.read(0 as BlockNumber, all.length / 2).then(({ batch }) => batch.payload))),
  );
  // Rot that nobody has read yet is found by the scrub, not by this comparison.
  if (read instanceof Error && read.name === 'BadBlockError' && world.damaged) return;
  if (!Array.isArray(read)) volume.problem(`a copy cannot be read: ${read}`);
  else if (read.some((payload) => !payload.equals(read[0]!))) volume.problem('payloads differ between copies');
}

/** Virtual time goes on until it is known; an Error if it takes too long or fails. */
async function settled<T>(world: World, promise: Promise<T>): Promise<T | Error> {
  let outcome: T | Error | undefined;
  promise.then(
    (value) => {
      outcome = value;
    },
    (error: Error) => {
      outcome = error;
    },
  );
  const { scheduler } = world;
  await scheduler.run(scheduler.now + READ_TIMEOUT_MS, () => outcome !== undefined);
  return outcome ?? new Error('no answer');
}

/** A block that one copy holds damaged, or intact, is the same as one that another knows to be lost. */
function identity(indexed: IndexedBlock | undefined): string {
  if (indexed === undefined) return 'never written';
  const { order, kind, checksumLow, checksumHigh } = indexed;
  const what = kind === KIND_ZERO ? 'zeroes' : `data ${checksumLow.toString(16)} ${checksumHigh.toString(16)}`;
  return `(${order.epoch}, ${order.sequence}) ${what}`;
}

/**
 * Nothing is left of a cluster that was shut down in good order: no timer, no connection, no payload that is held.
 * Returns what is.
 */
export async function shutDown(world: World): Promise<string[]> {
  const { scheduler, nodes, volumes, network, leases } = world;
  for (const volume of volumes) {
    volume.controller.end();
    for (const client of volume.clients) if (client.alive) void client.close();
  }
  await scheduler.run(scheduler.now + CLOSING_MS);
  const problems: string[] = [];
  if (leases.heldByLiving > 0)
    problems.push(`${leases.heldByLiving} payloads are held after all frontends were closed`);
  for (const node of nodes) {
    void node.stop().then((timers) => {
      if (timers > 0) problems.push(`${timers} timers are left on ${node.name} after it was stopped in good order`);
    });
  }
  await scheduler.run(scheduler.now + SETTLING_MS, () => nodes.every((node) => !node.up));
  for (const node of nodes) if (node.up) problems.push(`${node.name} does not end`);
  await scheduler.run(scheduler.now + SETTLING_MS);
  if (network.connections > 0) problems.push(`${network.connections} connections are left after all has ended`);
  return problems;
}
