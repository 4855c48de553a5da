import { describe, expect, test } from 'vitest';
import { InvariantError } from '../../../core/ports.js';
import { Arena, type Region } from '../../../node-agent/codec/arena.js';
import { seeded } from './harness.js';

const PAGE = 16 * 1024;
const PAGES = 32;

function makeArena(pages = PAGES): { arena: Arena; memory: Buffer } {
  const memory = Buffer.alloc(pages * PAGE);
  return { arena: new Arena(memory), memory };
}

describe('the arena of shared buffers', () => {
  test('gives every byte to one holder at a time, and all of them back', () => {
    const { arena } = makeArena();
    const random = seeded(7);
    const held: { region: Region; mark: number }[] = [];
    let full = 0;
    for (let step = 0; step < 5_000; step++) {
      if (random() < 0.55) {
        const region = arena.take(1 + Math.floor(random() * 6 * PAGE), 'stored');
        if (region === undefined) {
          full++;
        } else {
          const mark = step & 0xff;
          if (random() < 0.5) region.shrink(Math.ceil(region.bytes.length * random()) || 1);
          region.bytes.fill(mark);
          held.push({ region, mark });
        }
      } else if (held.length > 0) {
        const [{ region, mark }] = held.splice(Math.floor(random() * held.length), 1) as [(typeof held)[number]];
        expect(region.bytes.every((byte) => byte === mark)).toBe(true);
        region.release();
      }
      const pages = held.reduce((sum, { region }) => sum + Math.ceil(region.bytes.length / PAGE), 0);
      expect(arena.freeBytes).toBe((PAGES - pages) * PAGE);
    }
    expect(full).toBeGreaterThan(0);
    for (const { region } of held) region.release();
    expect(arena.freeBytes).toBe(arena.totalBytes);
    expect(arena.take(PAGES * PAGE, 'stored')?.bytes.length).toBe(PAGES * PAGE);
  });

  test('says no to more than there is in one piece', () => {
    const { arena } = makeArena(4);
    expect(arena.take(4 * PAGE + 1, 'stored')).toBeUndefined();
    const regions = [1, 2, 3, 4].map(() => arena.take(PAGE, 'stored')!);
    expect(arena.take(1, 'stored')).toBeUndefined();
    regions[0]!.release();
    regions[2]!.release();
    expect(arena.take(PAGE + 1, 'stored')).toBeUndefined();
    expect(arena.take(PAGE, 'stored')).toBeDefined();
  });

  test('a region lives until its last holder has released it', () => {
    const { arena } = makeArena(1);
    const region = arena.take(PAGE, 'stored')!;
    expect(region.exclusive).toBe(true);
    region.retain();
    expect(region.exclusive).toBe(false);
    region.release();
    expect(arena.take(1, 'stored')).toBeUndefined();
    region.release();
    expect(() => region.release()).toThrow(InvariantError);
    expect(() => region.retain()).toThrow(InvariantError);
    expect(arena.take(1, 'stored')).toBeDefined();
  });

  test('a region that others hold does not shrink', () => {
    const region = makeArena().arena.take(3 * PAGE, 'stored')!;
    region.retain();
    expect(() => region.shrink(PAGE)).toThrow(InvariantError);
  });

  test('plain text is zeroed when its volume is closed; what is in use, when it is given back', () => {
    const { arena, memory } = makeArena(4);
    const done = arena.take(PAGE, 'plain')!;
    const inUse = arena.take(PAGE, 'plain')!;
    const stored = arena.take(PAGE, 'stored')!;
    const decrypted = arena.take(PAGE, 'stored')!;
    for (const { bytes } of [done, inUse, stored, decrypted]) bytes.fill(0xaa);
    arena.markPlain(decrypted.bytes);
    done.release();
    decrypted.release();
    arena.forgetPlain();
    expect(done.bytes.every((byte) => byte === 0)).toBe(true);
    expect(decrypted.bytes.every((byte) => byte === 0)).toBe(true);
    expect(inUse.bytes.every((byte) => byte === 0xaa)).toBe(true);
    inUse.release();
    expect(inUse.bytes.every((byte) => byte === 0)).toBe(true);
    expect(memory.includes(0xaa)).toBe(true);
    expect(stored.bytes.every((byte) => byte === 0xaa)).toBe(true);
  });

  test('what was condemned stays it, whatever the region is used for until it is given back', () => {
    const { arena, memory } = makeArena(1);
    const first = arena.take(PAGE, 'plain')!;
    first.bytes.fill(0xaa);
    first.release();
    const next = arena.take(PAGE, 'stored')!;
    arena.forgetPlain();
    arena.markPlain(next.bytes.subarray(0, 100));
    next.release();
    expect(memory.every((byte) => byte === 0)).toBe(true);
  });
});
