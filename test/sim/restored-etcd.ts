/**
 * etcd comes back older than it was, as the same cluster or as another one, and `storageos recover` puts it right. Only
 * while nothing else goes wrong: an older record names copies that have left since, and nobody but those that know
 * better can contradict it.
 */

import type { World } from './world.js';

/** How much older a volume's record may be, in changes of it. */
const MAX_CHANGES = 4;
/** Copies say that etcd is behind after 5 s (`etcdBehindMs`). */
const NOTICED_MS = { min: 0, max: 8_000 };
const RESTART_MS = { min: 50, max: 3_000 };
const ASK_AGAIN_MS = 700;
const TIMEOUT_MS = 60_000;

export class RestoredEtcd {
  readonly #world: World;

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
    const until = scheduler.now + TIMEOUT_MS;
    for (const volume of volumes) {
      let done = false;
      const ask = (): void => {
        void volume.controller.recover().then((recovered) => {
          done = recovered;
          if (!recovered && scheduler.now < until) scheduler.after(ASK_AGAIN_MS, ask);
        });
      };
      ask();
      await scheduler.run(until, () => done);
      if (!done) return `v${volume.number} is not recovered ${TIMEOUT_MS} ms after etcd came back older`;
      this.#world.count('recoveries', 1);
    }
    return undefined;
  }
}
