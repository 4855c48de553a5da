/** Which slots of a page file are in use: one bit each. A slot is free when neither the index nor a snapshot has it. */

const GROW_BYTES = 4096;

export class Slots {
  #bits: Uint8Array;
  /** Slots up to here have been used; the file is so long. */
  length: number;
  #used = 0;
  /** No slot below is free. */
  #lowest = 0;

  constructor(bits = new Uint8Array(0), length = 0) {
    this.#bits = bits;
    this.length = length;
    for (const byte of bits) for (let b = byte; b !== 0; b &= b - 1) this.#used++;
  }

  get used(): number {
    return this.#used;
  }

  /** Memory that it takes. */
  get bytes(): number {
    return this.#bits.length;
  }

  /** The lowest free slot, which is used from now on. */
  take(): number {
    let slot = this.#lowest;
    for (; slot < this.length; slot++) {
      const byte = this.#bits[slot >>> 3]!;
      if (byte === 0xff && (slot & 7) === 0) slot += 7;
      else if ((byte & (1 << (slot & 7))) === 0) break;
    }
    if (slot >= this.length) this.length = slot + 1;
    if (slot >>> 3 >= this.#bits.length) {
      const grown = new Uint8Array(this.#bits.length + GROW_BYTES);
      grown.set(this.#bits);
      this.#bits = grown;
    }
    this.#bits[slot >>> 3]! |= 1 << (slot & 7);
    this.#used++;
    this.#lowest = slot + 1;
    return slot;
  }

  isUsed(slot: number): boolean {
    return slot < this.length && (this.#bits[slot >>> 3]! & (1 << (slot & 7))) !== 0;
  }

  free(slot: number): void {
    if (!this.isUsed(slot)) throw new RangeError(`slot ${slot} is free already`);
    this.#bits[slot >>> 3]! &= ~(1 << (slot & 7));
    this.#used--;
    if (slot < this.#lowest) this.#lowest = slot;
  }

  /** A copy in which `freed` are free, without free slots at the end. */
  without(freed: readonly number[]): Slots {
    const copy = new Slots(this.#bits.slice(), this.length);
    for (const slot of freed) copy.free(slot);
    while (copy.length > 0 && !copy.isUsed(copy.length - 1)) copy.length--;
    return copy;
  }

  /** One bit per slot below `length`, slot 0 the lowest of the first byte. */
  encode(): Uint8Array {
    return this.#bits.subarray(0, Math.ceil(this.length / 8));
  }
}
