/**
 * Short-lived buffers of up to some kilobytes, cut from larger ones: a buffer of its own costs a request of one block
 * a quarter of its time, most of it in the garbage collector, and Node pools only what is smaller than 4 KiB.
 */

/** It lives as long as any piece of it. */
const SLAB_BYTES = 128 * 1024;
/** Larger ones get a buffer of their own, so that what one of them keeps alive stays in proportion. */
const LARGEST_SHARE = SLAB_BYTES / 8;
/** Copies of aligned memory are faster. */
const ALIGNMENT = 8;
const NONE = new ArrayBuffer(0);

export class Slab {
  #memory: ArrayBufferLike = NONE;
  #used = 0;

  /** Uninitialised, the caller's for ever. */
  take(bytes: number): Buffer {
    if (bytes > LARGEST_SHARE) return Buffer.allocUnsafeSlow(bytes);
    const at = this.#claim(bytes);
    return Buffer.from(this.#memory, at, bytes);
  }

  /** Two of them, adjacent. */
  takeTwo(first: number, second: number): [Buffer, Buffer] {
    const bytes = first + second;
    const own = bytes > LARGEST_SHARE;
    const at = own ? 0 : this.#claim(bytes);
    const memory = own ? Buffer.allocUnsafeSlow(bytes).buffer : this.#memory;
    return [Buffer.from(memory, at, first), Buffer.from(memory, at + first, second)];
  }

  /** Returns where in the slab so many bytes begin. */
  #claim(bytes: number): number {
    if (this.#used + bytes > this.#memory.byteLength) {
      this.#memory = Buffer.allocUnsafeSlow(SLAB_BYTES).buffer;
      this.#used = 0;
    }
    const at = this.#used;
    this.#used = (at + bytes + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
    return at;
  }
}
