/** What a node does for its deployments when nobody asks: cleaning and scrubbing, one deployment at a time each. */

import type { Clock } from '../../core/ports.js';
import type { LocalDeploymentStore } from './deployment-store.js';
import type { StoreSettings } from './environment.js';
import { Pace } from './pace.js';

/** A store that has anything counts as no less: beside its blocks, a pass reads pages of the index and the checkpoint. */
const MIN_SCRUBBED_BYTES = 64 * 1024;
/** What changes the scrub's rate, new volumes for one, shows after this time at the latest. */
const MAX_SCRUB_WAIT_MS = 60_000;
/** What a scrub that was paused, or whose machine slept, may catch up with at once. */
const MAX_SCRUB_CREDIT_BYTES = 4 * 1024 * 1024;
const SCRUB_STEP_BYTES = 1024 * 1024;

export class Maintenance {
  readonly #clock: Clock;
  readonly #settings: StoreSettings;
  readonly #stores: () => Iterable<LocalDeploymentStore>;
  readonly #cleaning: Pace;
  readonly #scrubbing: Pace;
  readonly #running: Promise<unknown>;
  /** Passes of each store's scrub, in the scrub's own time: one that opens begins where the others are. */
  readonly #scrubbed = new WeakMap<LocalDeploymentStore, number>();
  #scrubTime = 0;
  scrubPaused = false;

  /** `stores`: those that are open. */
  constructor(clock: Clock, settings: StoreSettings, stores: () => Iterable<LocalDeploymentStore>) {
    this.#clock = clock;
    this.#settings = settings;
    this.#stores = stores;
    this.#cleaning = new Pace(clock);
    this.#scrubbing = new Pace(clock);
    this.#running = Promise.all([this.#clean(), this.#scrub()]);
  }

  async #clean(): Promise<void> {
    const pace = this.#cleaning;
    while (!pace.stopped) {
      let busy = false;
      for (const store of this.#stores()) {
        busy = (await store.clean(pace)) || busy;
        if (pace.stopped) return;
      }
      await pace.wait(busy ? 0 : this.#settings.maintenanceIntervalMs);
    }
  }

  /** Spread evenly over the interval, and over the deployments by what they store. */
  async #scrub(): Promise<void> {
    const pace = this.#scrubbing;
    let credit = 0;
    let before = this.#clock.now();
    while (!pace.stopped) {
      const stores = [...this.#stores()];
      const rate = this.#scrubRate(stores);
      const now = this.#clock.now();
      credit = Math.min(MAX_SCRUB_CREDIT_BYTES, credit + ((now - before) / 1000) * rate);
      before = now;
      const next = this.#nextToScrub(stores);
      if (this.scrubPaused || next === undefined) credit = Math.min(credit, 0);
      else if (credit > 0) {
        const bytes = Math.max(await next.scrub(), next.state.blockSize);
        credit -= bytes;
        this.#scrubbed.set(next, this.#scrubTime + bytes / Math.max(bytes, next.scrubBytes));
      }
      const due = ((SCRUB_STEP_BYTES - credit) / rate) * 1000;
      await pace.wait(credit > 0 ? 0 : Math.min(due, MAX_SCRUB_WAIT_MS));
    }
  }

  #scrubRate(stores: readonly LocalDeploymentStore[]): number {
    const { scrubIntervalMs, scrubBytesPerSecond } = this.#settings;
    let all = MIN_SCRUBBED_BYTES;
    for (const store of stores) if (store.liveBytes > 0) all += Math.max(MIN_SCRUBBED_BYTES, store.scrubBytes);
    return Math.min(scrubBytesPerSecond, (all / scrubIntervalMs) * 1000);
  }

  #nextToScrub(stores: readonly LocalDeploymentStore[]): LocalDeploymentStore | undefined {
    let next: LocalDeploymentStore | undefined;
    let least = Number.POSITIVE_INFINITY;
    for (const store of stores) {
      const done = this.#scrubbed.get(store) ?? this.#scrubTime;
      if (store.failed || store.liveBytes === 0 || done >= least) continue;
      next = store;
      least = done;
    }
    if (next !== undefined) this.#scrubTime = Math.max(this.#scrubTime, least);
    return next;
  }

  /** Resolves when nothing is under way. */
  async stop(): Promise<void> {
    this.#cleaning.stop();
    this.#scrubbing.stop();
    await this.#running;
  }
}
