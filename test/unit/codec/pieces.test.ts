/** Short pieces of the arena: what is held is nobody else's, what lies side by side is, and nothing stays behind. */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Arena, type Held } from '../../../node-agent/codec/arena.js';
import { Pieces } from '../../../node-agent/codec/pieces.js';

const REGION_BYTES = 256 * 1024;
const memory = (regions: number): Arena => new Arena(Buffer.alloc(regions * REGION_BYTES));
const end = ({ bytes }: Held): number => bytes.byteOffset + bytes.length;

describe('pieces', () => {
  it('lie side by side, behind what the one before has kept, with one lease', () => {
    const pieces = new Pieces(memory(1), 'stored');
    const first = pieces.take(4096)!;
    expect(first.shrink(1001)).toHaveLength(1001);
    const second = pieces.take(4096)!;
    expect([second.bytes.byteOffset, second.lease]).toEqual([end(first), first.lease]);
    first.shrink(10);
    expect(pieces.take(1)!.bytes.byteOffset).toBe(end(second));
  });

  it('there are as many as there is room for, and all of it comes back with the last of them', () => {
    const arena = memory(2);
    const pieces = new Pieces(arena, 'plain');
    const taken: Held[] = [];
    for (let next = pieces.take(5000); next !== undefined; next = pieces.take(5000)) taken.push(next);
    expect(taken).toHaveLength(2 * Math.floor(REGION_BYTES / 5000));
    for (const piece of taken) piece.retain();
    for (const piece of taken) piece.release();
    expect(arena.freeBytes).toBe(0);
    for (const piece of taken) piece.release();
    expect(arena.freeBytes).toBe(arena.totalBytes);
    expect(pieces.take(5000)).toBeDefined();
  });

  it('never overlap while they are held, in any order of takings, shrinkings and releases', () => {
    const step = fc.record({ bytes: fc.integer({ min: 0, max: 16383 }), kept: fc.nat(100), released: fc.nat(50) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const arena = memory(3);
        const pieces = new Pieces(arena, 'stored');
        const held: { readonly piece: Held; readonly mark: number }[] = [];
        steps.forEach(({ bytes, kept, released }, i) => {
          const piece = pieces.take(bytes);
          if (piece !== undefined) {
            if (kept < 80) piece.shrink(Math.floor((bytes * kept) / 100));
            const mark = i % 256;
            piece.bytes.fill(mark);
            held.push({ piece, mark });
          }
          const [gone] = released < held.length ? held.splice(released, 1) : [];
          gone?.piece.release();
          for (const { piece, mark } of held) expect(piece.bytes.every((byte) => byte === mark)).toBe(true);
        });
        for (const { piece } of held) piece.release();
        expect(arena.freeBytes).toBe(arena.totalBytes);
      }),
      { numRuns: 60 },
    );
  });
});
