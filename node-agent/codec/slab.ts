/** Buffers for batches, cut from larger ones: a buffer of its own costs a request of one block a quarter of its time. */

const SLAB_BYTES = 128 * 1024;
/** Larger ones get a buffer of their own, so that what one batch keeps alive stays in proportion. */
const LARGEST_SHARE = SLAB_BYTES / 8;
const ALIGNMENT = 8;

export class Slab {
  #memory = Buffer.allocUnsafeSlow(SLAB_BYTES).buffer;
  #used = 0;

  /** `first` and `second` bytes, adjacent, uninitialised, the caller's for ever. */
  take(first: number, second: number): [Buffer, Buffer] {
    const length = first + second;
    if (length > LARGEST_SHARE) {
      const { buffer } = Buffer.allocUnsafeSlow(length);
      return [Buffer.from(buffer, 0, first), Buffer.from(buffer, first, second)];
    }
    if (this.#used + length > SLAB_BYTES) {
      this.#memory = Buffer.allocUnsafeSlow(SLAB_BYTES).buffer;
      this.#used = 0;
    }
    const at = this.#used;
    this.#used = (at + length + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
    return [Buffer.from(this.#memory, at, first), Buffer.from(this.#memory, at + first, second)];
  }
}
