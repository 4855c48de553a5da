/**
 * etcd comes back older than it was, as the same cluster or as another one, and `storageos recover` puts it right. Only
 * while nothing else goes wrong, or as another cluster: an older record names copies that have left since, and nobody
 * but those that know better can contradict it, as long as the cluster's id does not.
 */

import type { Timer } from '../../core/ports.js';
import type { SimNode } from './node.js';
import type { World } from './world.js';

/** How much older a volume's record may be, in changes of it. */
const MAX_CHANGES = 4;
/** The same in the middle of trouble. */
const MAX_CHANGES_IN_TROUBLE = 8;
/** Copies say that etcd is behind after 5 s (`etcdBehindMs`). */
const NOTICED_MS = { min: 0, max: 8_000 };
const RESTART_MS = { min: 50, max: 3_000 };
const ASK_AGAIN_MS = 700;
const TIMEOUT_MS = 60_000;
const START_MS = 5_000;
/** For nodes to open their copies, and to erase what was given up. */
const OPENING_MS = 2_000;
/** How long nodes are there together, and then some without the others, at the most. */
const TOGETHER_MS = 3_000;
const AHEAD_MS = 8_000;
/** What the volumes' workflows have begun has ended by then. */
const QUIET_MS = 2_000;
/** From when on nodes come back that were away. */
const AWAY_MS = { min: 2_000, max: 30_000 };

export class RestoredEtcd {
  readonly #world: World;
  readonly #returns: Timer[] = [];

  constructor(world: World) {
    this.#world = world;
  }

  /** Undefined: all volumes are recovered; else what is wrong. */
  async happen(): Promise<string | undefined> {
    const { etcd, random, scheduler, nodes, volumes } = this.#world;
    const replaced = random.chance(0.5);
    this.#world.trace('etcd', `comes back older${replaced ? ', as another cluster' : ''}`);
    etcd.rollBack(() => random.int(0, MAX_CHANGES), replaced);
    for (const volume of volumes) volume.restore();
    if (replaced) {
      for (const node of nodes) scheduler.after(random.between(0, RESTART_MS.max), () => node.crash(false));
      await scheduler.run(scheduler.now + RESTART_MS.max);
      for (const node of nodes) scheduler.after(random.between(RESTART_MS.min, RESTART_MS.max), () => node.start());
    }
    await scheduler.run(scheduler.now + random.between(NOTICED_MS.min, NOTICED_MS.max));
    return this.#recoverAll(false, nodes);
  }

  /**
   * Some nodes go on without the others, through promotions maybe. Then they are away with what only they know, and
   * another cluster is made of an older snapshot. Somebody accepts that what he can't see is lost. Undefined: all volumes
   * are recovered; else what is wrong.
   */
  async happenInTrouble(): Promise<string | undefined> {
    const { etcd, random, scheduler, nodes, volumes } = this.#world;
    const behind = random.shuffled(nodes).slice(0, random.int(1, Math.max(1, nodes.length - 1)));
    await scheduler.run(scheduler.now + random.between(0, TOGETHER_MS));
    for (const node of behind) node.crash(random.chance(0.5));
    // Epochs that only those who are there hear of.
    for (const { controller } of volumes) controller.falseSuspicion = random.pick([0, 0.7]);
    await scheduler.run(scheduler.now + random.between(0, AHEAD_MS));
    for (const { controller } of volumes) controller.falseSuspicion = 0;
    // Mostly it is those that know more who are away.
    const away = new Set(nodes.filter((node) => random.chance(behind.includes(node) ? 0.1 : 0.9)));
    for (const { controller } of volumes) controller.running = false;
    for (const node of nodes) node.crash(random.chance(0.5));
    await scheduler.run(scheduler.now + QUIET_MS);
    this.#world.trace('etcd', `comes back older, as another cluster, without ${[...away].map(({ name }) => name)}`);
    etcd.rollBack(() => random.int(0, MAX_CHANGES_IN_TROUBLE), true);
    for (const volume of volumes) volume.restore();
    for (const node of nodes) {
      const { min, max } = away.has(node) ? AWAY_MS : RESTART_MS;
      this.#returns.push(scheduler.after(random.between(min, max), () => node.start()));
    }
    await scheduler.run(scheduler.now + RESTART_MS.max + random.between(NOTICED_MS.min, NOTICED_MS.max));
    return this.#recoverAll(
      true,
      nodes.filter((node) => !away.has(node)),
    );
  }

  /**
   * Everybody is back, those too whom the recovery went without, with the id of the former cluster on their disks: who
   * sees that asks for another recovery. Undefined: it is done; else what is wrong.
   */
  async allAreBack(): Promise<string | undefined> {
    const { scheduler, nodes } = this.#world;
    for (const timer of this.#returns) timer.cancel();
    await scheduler.run(scheduler.now + START_MS, () => nodes.every((node) => node.links.begun));
    await scheduler.run(scheduler.now + OPENING_MS);
    return this.#recoverAll(true, nodes);
  }

  /** `present`: nodes whose agents are started anew if they end. */
  async #recoverAll(acceptLoss: boolean, present: readonly SimNode[]): Promise<string | undefined> {
    const { scheduler, volumes } = this.#world;
    const until = scheduler.now + TIMEOUT_MS;
    for (const volume of volumes) {
      let done = false;
      const ask = (): void => {
        for (const node of present) node.start();
        void volume.controller.recover(acceptLoss).then((recovered) => {
          done = recovered;
          if (!recovered && scheduler.now < until) scheduler.after(ASK_AGAIN_MS, ask);
        });
      };
      ask();
      await scheduler.run(until, () => done);
      if (!done) return `v${volume.number} is not recovered ${TIMEOUT_MS} ms after etcd came back older`;
      volume.controller.running = true;
      this.#world.count('recoveries', 1);
    }
    return undefined;
  }
}
