/** One instance of the kernels and whose turn it is: all volumes of a thread share it, one call at a time. */

import type { VolumeId } from '../../core/types.js';
import { Slab } from '../slab.js';
import { Arena, type Held, type RegionContents } from './arena.js';
import { type IoMemory, XTS_KEY_BYTES } from './codec.js';
import { instantiateKernels, type Kernels } from './kernels.js';
import { Pieces } from './pieces.js';

/** The key of a volume, expanded for the kernels. */
export class KernelKey {
  readonly schedule: Uint8Array;
  constructor(schedule: Uint8Array) {
    this.schedule = schedule;
  }
}

/** As much as a unix socket hands over at once, and a little more. */
const WINDOW_BYTES = 256 * 1024;
const UUID_BYTES = 16;
/** Shorter ones are pieces of a region that they share; longer ones have their own. */
export const SHORTEST_REGION = 16 * 1024;

export class Workspace implements IoMemory {
  readonly kernels: Kernels;
  /** For tables of entries, and for payloads when the arena is full. */
  readonly slab = new Slab();
  readonly window: Buffer;
  readonly arena: Arena;
  readonly #pieces: Readonly<Record<RegionContents, Pieces>>;
  #volume: Uint8Array | undefined;
  #key: KernelKey | undefined;

  /** `memoryBytes`: for buffers that sockets and files share; 0: none. */
  constructor(module: WebAssembly.Module, memoryBytes = 0) {
    const windowBytes = memoryBytes > 0 ? WINDOW_BYTES : 0;
    this.kernels = instantiateKernels(module, windowBytes + memoryBytes);
    const { bytes, at } = this.kernels;
    const { buffer } = bytes;
    // Without shared buffers, sockets are read into ordinary memory.
    this.window = windowBytes > 0 ? Buffer.from(buffer, at.MEMORY_BYTES, windowBytes) : Buffer.alloc(WINDOW_BYTES);
    this.arena = new Arena(Buffer.from(buffer, at.MEMORY_BYTES + windowBytes, memoryBytes));
    this.#pieces = { plain: new Pieces(this.arena, 'plain'), stored: new Pieces(this.arena, 'stored') };
  }

  get totalBytes(): number {
    return this.arena.totalBytes;
  }

  get freeBytes(): number {
    return this.arena.freeBytes;
  }

  take(bytes: number, contents: RegionContents): Held | undefined {
    return bytes < SHORTEST_REGION ? this.#pieces[contents].take(bytes) : this.arena.take(bytes, contents);
  }

  /**
   * Where `bytes` lie, if the kernels can reach them; undefined for ordinary memory. RangeError for what is the
   * kernels' own: a caller's buffer there would be overwritten by the very call that it was made for.
   */
  reach(bytes: Uint8Array): number | undefined {
    const { kernels } = this;
    if (bytes.buffer !== kernels.bytes.buffer) return undefined;
    if (bytes.byteOffset < kernels.at.MEMORY_BYTES) throw new RangeError("a buffer in the kernels' own memory");
    return bytes.byteOffset;
  }

  /** Expands a key. RangeError unless it has XTS_KEY_BYTES; or if its halves are equal, which makes XTS insecure. */
  expand(key: Uint8Array): KernelKey {
    if (key.length !== XTS_KEY_BYTES) throw new RangeError(`key of ${key.length} bytes, not ${XTS_KEY_BYTES}`);
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

  /** Zeroes `key` and all plain text that is in the memory; where it is in use, when that ends. */
  forget(key: KernelKey | undefined): void {
    const { call, at, bytes } = this.kernels;
    if (key !== undefined) {
      key.schedule.fill(0);
      if (this.#key === key) this.#key = undefined;
      call.wipeKeys();
      this.#key = undefined;
    }
    bytes.fill(0, at.PLAIN, at.STORED + at.STORED_BYTES);
    this.window.fill(0);
    this.arena.forgetPlain();
  }
}

/** RangeError if the two have a byte in common. */
export function refuseOverlap(one: Uint8Array, other: Uint8Array): void {
  if (one.buffer !== other.buffer) return;
  const distance = other.byteOffset - one.byteOffset;
  if (distance < one.length && -distance < other.length) throw new RangeError('overlapping buffers');
}

/** The 16 bytes of a UUID in RFC 4122 order. RangeError for anything else. */
export function volumeBytes(volume: VolumeId): Uint8Array {
  const bytes = Buffer.from(volume.replaceAll('-', ''), 'hex');
  if (bytes.length !== UUID_BYTES) throw new RangeError(`volume id ${volume}: not a UUID`);
  return bytes;
}
