/** What happens in a small scope, and when. */

import type { Network } from './network.js';
import type { SimNode } from './node.js';
import type { Scheduler } from './scheduler.js';
import type { SimClient } from './workload.js';

/**
 * Three copies, two writes that overlap, and faults at certain moments, counted in events behind the first write.
 * Nodes: 0 is the primary, 1 and 2 are the others.
 */
export interface Scope {
  /** Where the volume is attached. */
  readonly attached: number;
  readonly crash?: { readonly node: number; readonly power: boolean; readonly at: number };
  /** From the other nodes; etcd and the controller are still reached. */
  readonly cut?: { readonly node: number; readonly at: number };
  /** Another primary is named, whatever the present one says. */
  readonly promotion?: { readonly at: number };
}

const OPENING_MS = 10_000;
const SETTLING_MS = 400;
/** Crashed nodes are back, and networks whole, after so long. */
const FAULT_MS = 700;
const WRITES_MS = 3_000;

export interface ScopeWorld {
  readonly scheduler: Scheduler;
  readonly network: Network;
  /** The primary first. */
  readonly nodes: readonly SimNode[];
  /** Whether the primary serves. */
  readonly serving: () => boolean;
  readonly promote: () => void;
  /** Attached already, or about to be. */
  readonly client: () => SimClient;
}

/** Lets the scope happen; returns the events from the first write to the answer to the last one. */
export async function disturb({ crash, cut, promotion }: Scope, world: ScopeWorld): Promise<number> {
  const { scheduler, network, nodes, serving } = world;
  await scheduler.run(scheduler.now + OPENING_MS, serving);
  await scheduler.run(scheduler.now + SETTLING_MS);
  const client = world.client();
  const begin = scheduler.events;
  scheduler.onEvent = () => {
    const event = scheduler.events - begin;
    if (crash?.at === event) {
      nodes[crash.node]!.crash(crash.power);
      scheduler.after(FAULT_MS, () => nodes[crash.node]!.start());
    }
    if (cut?.at === event) {
      for (const other of nodes) {
        if (other === nodes[cut.node]) continue;
        network.block(nodes[cut.node]!.name, other.name);
        network.block(other.name, nodes[cut.node]!.name);
      }
      scheduler.after(FAULT_MS, () => network.heal());
    }
    if (promotion?.at === event) world.promote();
  };
  client.write(0, 2, false, false);
  client.write(1, 1, false, false);
  await scheduler.run(scheduler.now + WRITES_MS, () => client.pending === 0);
  const events = scheduler.events - begin;
  // Faults whose moment comes behind the answers.
  await scheduler.run(scheduler.now + FAULT_MS);
  scheduler.onEvent = () => {};
  return events;
}
