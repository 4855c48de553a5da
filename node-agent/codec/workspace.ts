/** One instance of the kernels and whose turn it is: all volumes of a thread share it, one call at a time. */

import type { VolumeId } from '../../core/types.js';
import { instantiateKernels, type Kernels } from './kernels.js';
import { Slab } from './slab.js';

/** The key of a volume, expanded for the kernels. */
export class KernelKey {
  readonly schedule: Uint8Array;
  constructor(schedule: Uint8Array) {
    this.schedule = schedule;
  }
}

export class Workspace {
  readonly kernels: Kernels;
  /** Where batches are put. */
  readonly slab = new Slab();
  #volume: Uint8Array | undefined;
  #key: KernelKey | undefined;

  constructor(module: WebAssembly.Module) {
    this.kernels = instantiateKernels(module);
  }

  /** Expands a 64-byte key. RangeError if its halves are equal, which makes XTS insecure. */
  expand(key: Uint8Array): KernelKey {
    const { call, at, bytes } = this.kernels;
    this.#key = undefined;
    bytes.set(key, at.KEY);
    if (call.expandKeys() === 0) throw new RangeError('weak XTS key: both halves are equal');
    const installed = new KernelKey(bytes.slice(at.DATA_KEYS, at.DATA_KEYS + 2 * at.KEYS_BYTES));
    this.#key = installed;
    return installed;
  }

  /** Makes `volume`, and `key` if there is one, those of the following calls. */
  use(volume: Uint8Array, key?: KernelKey): void {
    const { at, bytes } = this.kernels;
    if (this.#volume !== volume) {
      bytes.set(volume, at.VOLUME_ID);
      this.#volume = volume;
    }
    if (key !== undefined && this.#key !== key) {
      bytes.set(key.schedule, at.DATA_KEYS);
      this.#key = key;
    }
  }

  /** Zeroes `key` and what its volume left in the memory. */
  forget(key: KernelKey | undefined): void {
    const { call, at, bytes } = this.kernels;
    if (key !== undefined) {
      key.schedule.fill(0);
      if (this.#key === key) this.#key = undefined;
      call.wipeKeys();
      this.#key = undefined;
    }
    bytes.fill(0, at.PLAIN, at.STORED + at.STORED_BYTES);
  }
}

/** The 16 bytes of a UUID in RFC 4122 order. */
export function volumeBytes(volume: VolumeId): Uint8Array {
  return Buffer.from(volume.replaceAll('-', ''), 'hex');
}
