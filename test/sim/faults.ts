/** The faults of a simulation: what happens when, and how it is all healed at the end. What they are: fault-kinds.ts. */

import { FaultKinds } from './fault-kinds.js';
import type { SeededRandom } from './scheduler.js';
import type { World } from './world.js';

/** What is done when a membership has just changed, that is when it hurts most. */
const AFTERSHOCKS = [
  'killPrimary',
  'kill',
  'split',
  'triangle',
  'isolate',
  'etcdTrouble',
  'pause',
  'suspicion',
  'powerPrimary',
  'power',
  'power',
  'powerOfMost',
] as const;

/** Share of removals of copies that meet a failed sync. */
const FAILED_REMOVALS = 0.3;

export class Faults {
  readonly #world: World;
  readonly #random: SeededRandom;
  readonly #kinds: FaultKinds;
  readonly counts: Record<string, number> = {};
  #over = true;
  #aftershocks = 0;

  constructor(world: World, random: SeededRandom) {
    this.#world = world;
    this.#random = random;
    this.#kinds = new FaultKinds(world, random, () => this.#over);
  }

  /** Each seed has its own mixture: some kinds often, some never. */
  begin(until: number): void {
    const { scheduler } = this.#world;
    const random = this.#random;
    this.#over = false;
    const names = this.#kinds.names.filter(() => random.chance(0.55));
    if (names.length === 0) names.push('kill');
    this.#aftershocks = random.pick([0, 0.2, 0.5]);
    // A failure that is drawn by itself hardly ever meets one of the few removals.
    for (const { disk } of this.#world.nodes) disk.failRemovals(FAILED_REMOVALS);
    const pause = random.pick([80, 300, 1_000, 2_500]);
    const next = (): void => {
      scheduler.after(random.between(0.3, 1.7) * pause, () => {
        if (this.#over || scheduler.now > until) return;
        this.#inject(random.pick(names));
        next();
      });
    };
    scheduler.after(random.between(200, 3_000), next);
  }

  #inject(name: string, how = ''): void {
    const what = this.#kinds.inject(name);
    if (what === undefined) return;
    const counted = how === '' ? name : 'aftershocks';
    this.counts[counted] = (this.counts[counted] ?? 0) + 1;
    this.#world.trace('faults', `${how}${what}`);
  }

  onMembershipChange(): void {
    const random = this.#random;
    if (this.#over || !random.chance(this.#aftershocks)) return;
    this.#world.scheduler.after(random.between(0, random.pick([5, 60, 400])), () => {
      if (!this.#over) this.#inject(random.pick(AFTERSHOCKS), 'aftershock: ');
    });
  }

  /** Everything is as it should be, and nothing happens any more until the next `begin`. */
  heal(): void {
    this.#over = true;
    const { network, etcd, nodes, volumes } = this.#world;
    network.heal();
    etcd.down = false;
    etcd.trouble = 0;
    for (const volume of volumes) volume.controller.falseSuspicion = 0;
    for (const node of nodes) {
      node.disk.setFull(false);
      node.disk.failNextSync(false);
      node.disk.failRemovals(0);
      node.disk.setSpeed('usual');
      node.resume();
      node.start();
    }
  }
}
