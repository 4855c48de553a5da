/** The superblock of an open deployment: what it says, and its changes, durable one after the other. */

import { type DeploymentState, invariant } from '../../core/ports.js';
import type { Device } from './devices.js';
import { GroupCommit } from './group-commit.js';
import type { ScrubPosition } from './scrubber.js';
import { type Superblock, type SuperblockFile, stateOf } from './superblock.js';

export interface SuperblockUpdatesOptions {
  readonly file: SuperblockFile;
  /** As it was when the opening was recorded. */
  readonly superblock: Superblock;
  /** All batches up to this number are durable. */
  readonly durableBatch: () => number;
  readonly scrubbed: () => ScrubPosition;
  /** Makes the log durable. */
  readonly flush: () => Promise<void>;
  /** Whether an error was final for the store, and whether what was acknowledged may be missing after it. */
  readonly failed: () => boolean;
  readonly suspect: () => boolean;
  readonly fail: (error: unknown) => void;
}

export class SuperblockUpdates {
  readonly #options: SuperblockUpdatesOptions;
  readonly #rounds = new GroupCommit(() => this.#round());
  #present: Superblock;
  #state: DeploymentState;
  #patch: Partial<Superblock> = {};
  /** Devices that were added in this opening, or are being added. */
  readonly #added = new Map<Device, Promise<void>>();

  constructor(options: SuperblockUpdatesOptions) {
    this.#options = options;
    this.#present = options.superblock;
    this.#state = stateOf(options.superblock);
  }

  /** As it is durable. */
  get present(): Superblock {
    return this.#present;
  }

  /** The part of it that replication sees. */
  get state(): DeploymentState {
    return this.#state;
  }

  /**
   * Changes to `unclean` and `syncBase` speak about the log: it is flushed before they are recorded. Durable when it
   * resolves; any error is final for the store.
   */
  update(patch: Partial<Superblock>): Promise<void> {
    const known = Math.max(this.#patch.promised ?? 0, this.#state.promised);
    invariant((patch.promised ?? known) >= known, 'a promise never falls', () => `${patch.promised} after ${known}`);
    Object.assign(this.#patch, patch);
    return this.#rounds.request();
  }

  /** Durable when it resolves: something of this deployment may be on the device. */
  addDevice(device: Device): Promise<void> {
    let added = this.#added.get(device);
    if (added === undefined) {
      const { devices } = this.#options.superblock;
      const more = [...this.#added.keys(), device].map(({ number, id }): [number, string] => [number, id]);
      added = this.update({ devices: [...devices, ...more] });
      this.#added.set(device, added);
    }
    return added;
  }

  /** Resolves when none is under way. */
  idle(): Promise<void> {
    return this.#rounds.idle();
  }

  async #round(): Promise<void> {
    const { flush, failed, suspect, fail } = this.#options;
    const patch = this.#patch;
    this.#patch = {};
    try {
      if (!failed() && ('unclean' in patch || 'syncBase' in patch)) await flush();
    } catch (error) {
      // What the patch says of the log is not so; and there is no other round that would tell of the failure.
      if (suspect()) await this.#write({ unclean: true }).catch(() => {});
      throw error;
    }
    try {
      await this.#write(patch);
    } catch (error) {
      fail(error);
      throw error;
    }
  }

  async #write(patch: Partial<Superblock>): Promise<void> {
    const { file, durableBatch, scrubbed } = this.#options;
    const superblock = { ...this.#present, ...patch, scrub: scrubbed(), durableBatch: durableBatch() };
    await file.write(superblock);
    this.#present = superblock;
    this.#state = stateOf(superblock);
  }
}
