/** The cleaner of a node: one segment at a time, of whichever deployment has most reason for it. */

import type { Clock } from '../../core/ports.js';
import type { LocalDeploymentStore } from './deployment-store.js';
import type { StoreSettings } from './environment.js';
import { Pace } from './pace.js';

export class Maintenance {
  readonly #settings: StoreSettings;
  readonly #stores: () => Iterable<LocalDeploymentStore>;
  readonly #pace: Pace;
  readonly #running: Promise<void>;

  /** `stores`: those that are open. */
  constructor(clock: Clock, settings: StoreSettings, stores: () => Iterable<LocalDeploymentStore>) {
    this.#settings = settings;
    this.#stores = stores;
    this.#pace = new Pace(clock);
    this.#running = this.#run();
  }

  async #run(): Promise<void> {
    while (!this.#pace.stopped) {
      let busy = false;
      for (const store of this.#stores()) {
        busy = (await store.clean(this.#pace)) || busy;
        if (this.#pace.stopped) return;
      }
      await this.#pace.wait(busy ? 0 : this.#settings.maintenanceIntervalMs);
    }
  }

  /** Resolves when nothing is under way. */
  async stop(): Promise<void> {
    this.#pace.stop();
    await this.#running;
  }
}
