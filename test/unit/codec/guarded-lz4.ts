/** The LZ4 kernels, with everything around their regions watched. */

import type { Kernels } from '../../../node-agent/codec/kernels.js';
import { lz4Reference } from './lz4-reference.js';

const POISON = 0xa7;
const TARGET_DISTANCE = 0x40000;

/** Bytes that no compressed form exceeds. */
export const compressBound = (length: number): number => length + Math.floor(length / 255) + 16;

export type Edge = 'source' | 'target';

/**
 * Runs a kernel from one region to another of which one ends with the memory, so that the least step too far traps,
 * and throws if anything but the target has changed.
 */
export class GuardedLz4 {
  readonly #kernels: Kernels;

  constructor(kernels: Kernels) {
    this.#kernels = kernels;
  }

  /** The block, or undefined if it would be longer than `limit`. */
  compress(plain: Uint8Array, limit: number, atEnd: Edge = 'target'): Buffer | undefined {
    const { outcome, output } = this.#run(plain, limit, atEnd, (source, target) =>
      this.#kernels.call.lz4Compress(source, plain.length, target, limit),
    );
    return outcome === 0 ? undefined : output.subarray(0, outcome);
  }

  /** The plain text, or undefined for a malformed stream. */
  decompress(block: Uint8Array, capacity: number, atEnd: Edge = 'target'): Buffer | undefined {
    const { outcome, output } = this.#run(block, capacity, atEnd, (source, target) =>
      this.#kernels.call.lz4Decompress(source, block.length, target, capacity),
    );
    return outcome < 0 ? undefined : output.subarray(0, outcome);
  }

  /** Throws unless kernel and reference decoder agree on what is malformed, and else on the plain text. */
  agreesWithReference(block: Buffer, capacity: number): void {
    let expected: Buffer | undefined;
    try {
      expected = lz4Reference(block, { capacity });
    } catch {
      expected = undefined;
    }
    for (const atEnd of ['source', 'target'] as const) {
      const got = this.decompress(block, capacity, atEnd);
      if (got === undefined ? expected !== undefined : expected === undefined || !got.equals(expected)) {
        const seen = `${got?.length ?? 'refused'} instead of ${expected?.length ?? 'refused'}`;
        throw new Error(`${seen}, capacity ${capacity}, ${atEnd} at the end: ${block.toString('hex')}`);
      }
    }
  }

  #run(
    input: Uint8Array,
    capacity: number,
    atEnd: Edge,
    run: (source: number, target: number) => number,
  ): { outcome: number; output: Buffer } {
    const { at, bytes } = this.#kernels;
    const source = atEnd === 'source' ? at.MEMORY_BYTES - input.length : at.PLAIN;
    const target = atEnd === 'target' ? at.MEMORY_BYTES - capacity : at.PLAIN + TARGET_DISTANCE;
    bytes.fill(POISON, at.PLAIN);
    bytes.set(input, source);
    const outcome = run(source, target);
    const read = bytes.subarray(source, source + input.length);
    if (Buffer.compare(read, input) !== 0) throw new Error('the source has changed');
    const output = Buffer.from(bytes.subarray(target, target + capacity));
    bytes.fill(POISON, source, source + input.length);
    bytes.fill(POISON, target, target + capacity);
    const untouched = Buffer.alloc(at.MEMORY_BYTES - at.PLAIN, POISON);
    if (!untouched.equals(bytes.subarray(at.PLAIN))) throw new Error('bytes outside the target have changed');
    return { outcome, output };
  }
}
