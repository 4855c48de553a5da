/** Bytes of one slab; it lives as long as any piece of it. */
const SLAB_BYTES = 256 << 10;
/** Pieces larger than this have memory of their own. */
const MAX_PIECE_BYTES = 32 << 10;

/**
 * Cuts short-lived buffers of a few kilobytes out of larger ones: each ArrayBuffer costs the garbage collector
 * more than a small request costs otherwise, and Node pools only what is smaller than 4 KiB.
 */
export class Slab {
  #memory = Buffer.allocUnsafeSlow(0);
  #used = 0;

  /** Not zeroed. */
  take(bytes: number): Buffer {
    if (bytes > MAX_PIECE_BYTES) return Buffer.allocUnsafeSlow(bytes);
    if (this.#used + bytes > this.#memory.length) {
      this.#memory = Buffer.allocUnsafeSlow(SLAB_BYTES);
      this.#used = 0;
    }
    const piece = this.#memory.subarray(this.#used, this.#used + bytes);
    // Pieces begin at multiples of 8, as copies of aligned memory are faster.
    this.#used = (this.#used + bytes + 7) & ~7;
    return piece;
  }
}
