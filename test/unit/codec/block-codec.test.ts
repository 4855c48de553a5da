import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  type Batch,
  batchProblem,
  ENTRY_BYTES,
  type Entry,
  FLAG_LZ4,
  FLAG_XTS,
  KIND_DATA,
  KIND_GENERATION,
  KIND_ZERO,
  readEntry,
  writeEntry,
} from '../../../core/record.js';
import type { VolumeId } from '../../../core/types.js';
import {
  type CipherEngine,
  type Codec,
  CodecError,
  type CodecProblem,
  loadCodec,
  type VolumeCodec,
} from '../../../node-agent/codec/index.js';
import { DATA_KINDS, loadKernels, makeData } from './harness.js';

const VOLUME = '6f0c4f1e-52a0-4d9c-9d2b-2f3f6a7b8c9d' as VolumeId;
const OTHER = '6f0c4f1e-52a0-4d9c-9d2b-2f3f6a7b8c9e' as VolumeId;
const BLOCK = 4096;
const MANY_BLOCKS = 2 ** 53 - 1;

function entriesOf(batch: Batch): Entry[] {
  return Array.from({ length: batch.entries.length / ENTRY_BYTES }, (_, i) => readEntry(batch.entries, i));
}

function copyOf(batch: Batch): Batch {
  return { entries: Buffer.from(batch.entries), payload: Buffer.from(batch.payload) };
}

function problemOf(run: () => void): { kind: CodecProblem; block: number } | undefined {
  try {
    run();
  } catch (error) {
    if (error instanceof CodecError) return { kind: error.kind, block: error.block };
    throw error;
  }
  return undefined;
}

/** Blocks of every kind of data, zero blocks among them. */
function mixture(blocks: number, blockSize: number, seed: number): Buffer {
  return Buffer.concat(
    Array.from({ length: blocks }, (_, i) =>
      makeData(DATA_KINDS[(i + seed) % DATA_KINDS.length]!, blockSize, seed + i),
    ),
  );
}

describe.each<CipherEngine>(['wasm', 'native'])('engine %s', (engine) => {
  let codec: Codec;
  const key = randomBytes(64);
  beforeAll(async () => {
    codec = await loadCodec({ engine });
  });

  const open = (options: { blockSize?: number; compress?: boolean; encrypt?: boolean; volume?: VolumeId } = {}) =>
    codec.openVolume({
      volume: options.volume ?? VOLUME,
      blockSize: options.blockSize ?? BLOCK,
      compress: options.compress ?? true,
      ...(options.encrypt === false ? {} : { key }),
    });

  test('decoding gives back what was encoded, for all flags and block sizes', () => {
    for (const blockSize of [4096, 8192, 16384, 32768, 65536]) {
      for (const compress of [false, true]) {
        for (const encrypt of [false, true]) {
          const volume = open({ blockSize, compress, encrypt });
          for (const blocks of [1, 2, 7, 8, 9, 16]) {
            for (const first of [0, 1, 2 ** 32 - 3, 2 ** 40 + 5]) {
              const plain = mixture(blocks, blockSize, blocks);
              const batch = volume.encode(plain, first);
              expect(batchProblem(batch, MANY_BLOCKS, blockSize, 'write')).toBeUndefined();
              expect(codec.checksums(VOLUME).bad(batch)).toEqual([]);
              const back = Buffer.alloc(plain.length, 0xee);
              volume.decode(batch, first, back);
              expect(back.equals(plain)).toBe(true);
            }
          }
          volume.close();
        }
      }
    }
  });

  test('the largest request', () => {
    const volume = open();
    const plain = mixture(256, BLOCK, 3);
    const back = Buffer.alloc(plain.length);
    volume.decode(volume.encode(plain, 77), 77, back);
    expect(back.equals(plain)).toBe(true);
    const noise = randomBytes(1 << 20);
    volume.decode(volume.encode(noise, 0), 0, back);
    expect(back.equals(noise)).toBe(true);
  });

  test('any plain text at any place', () => {
    const volume = open();
    const block = fc.oneof(
      fc.constant(Buffer.alloc(BLOCK)),
      fc.uint8Array({ minLength: 1, maxLength: 64 }).map((unit) => Buffer.alloc(BLOCK, unit)),
      fc.uint8Array({ minLength: BLOCK, maxLength: BLOCK }).map((bytes) => Buffer.from(bytes)),
    );
    fc.assert(
      fc.property(fc.array(block, { minLength: 1, maxLength: 6 }), fc.maxSafeNat(), (blocks, at) => {
        const first = Math.min(at, MANY_BLOCKS - 8);
        const plain = Buffer.concat(blocks);
        const back = Buffer.alloc(plain.length);
        volume.decode(volume.encode(plain, first), first, back);
        return back.equals(plain);
      }),
      { numRuns: 60 },
    );
  });

  test('entries say what was done', () => {
    const plain = Buffer.concat([
      Buffer.alloc(2 * BLOCK),
      makeData('text', BLOCK),
      randomBytes(BLOCK),
      Buffer.alloc(3 * BLOCK),
    ]);
    const entries = entriesOf(open().encode(plain, 10));
    expect(entries.map(({ block, blocks, kind, flags }) => [block, blocks, kind, flags])).toEqual([
      [10, 2, KIND_ZERO, 0],
      [12, 1, KIND_DATA, FLAG_LZ4 | FLAG_XTS],
      [13, 1, KIND_DATA, FLAG_XTS],
      [14, 3, KIND_ZERO, 0],
    ]);
    expect(entries[1]!.storedLength).toBeLessThanOrEqual(BLOCK - BLOCK / 8);
    expect(entries[2]!.storedLength).toBe(BLOCK);
    const plainEntries = entriesOf(open({ compress: false, encrypt: false }).encode(plain, 10));
    expect(plainEntries[1]).toMatchObject({ flags: 0, storedLength: BLOCK });
  });

  test('the payload shows nothing of the plain text, nor do equal blocks look alike', () => {
    const line = 'the quick brown fox jumps over the lazy dog';
    const block = Buffer.alloc(BLOCK);
    block.write(line, 100);
    const { payload } = open().encode(Buffer.concat([block, block]), 1);
    expect(payload.includes(line.slice(0, 16))).toBe(false);
    const half = payload.length / 2;
    expect(payload.subarray(0, half).equals(payload.subarray(half))).toBe(false);
  });

  test('one flipped bit anywhere is found', () => {
    const volume = open();
    const plain = Buffer.concat([makeData('text', BLOCK), Buffer.alloc(BLOCK), makeData('noise', BLOCK)]);
    const sound = volume.encode(plain, 40);
    const into = Buffer.alloc(plain.length, 0x11);
    for (let bit = 0; bit < sound.entries.length * 8; bit++) {
      const batch = copyOf(sound);
      batch.entries[bit >> 3]! ^= 1 << (bit & 7);
      expect(
        problemOf(() => volume.decode(batch, 40, into)),
        `entry bit ${bit}`,
      ).toBeDefined();
    }
    for (let bit = 0; bit < sound.payload.length * 8; bit += 13) {
      const batch = copyOf(sound);
      batch.payload[bit >> 3]! ^= 1 << (bit & 7);
      const block = bit >> 3 < readEntry(sound.entries, 0).storedLength ? 40 : 42;
      expect(problemOf(() => volume.decode(batch, 40, into))).toEqual({ kind: 'checksum', block });
      expect(codec.checksums(VOLUME).bad(batch)).toEqual([block === 40 ? 0 : 2]);
    }
    expect(into.every((byte) => byte === 0x11)).toBe(true);
  });

  test('a payload of another block or volume does not pass', () => {
    const volume = open();
    const block = makeData('text', BLOCK);
    const batch = volume.encode(block, 5);
    expect(codec.checksums(VOLUME).firstBad(batch)).toBe(-1);
    expect(codec.checksums(OTHER).firstBad(batch)).toBe(0);
    const moved = copyOf(batch);
    writeEntry(moved.entries, 0, { ...readEntry(batch.entries, 0), block: 6 });
    expect(codec.checksums(VOLUME).firstBad(moved)).toBe(0);
    const into = Buffer.alloc(BLOCK);
    expect(problemOf(() => volume.decode(moved, 6, into))).toEqual({ kind: 'checksum', block: 6 });
    expect(problemOf(() => open({ volume: OTHER }).decode(batch, 5, into))).toEqual({ kind: 'checksum', block: 5 });
  });

  test('engines agree to the byte', async () => {
    const other = await loadCodec({ engine: engine === 'wasm' ? 'native' : 'wasm' });
    const mine = open();
    const theirs = other.openVolume({ volume: VOLUME, blockSize: BLOCK, compress: true, key });
    for (let seed = 0; seed < 10; seed++) {
      const plain = mixture(11, BLOCK, seed);
      const a = mine.encode(plain, seed * 1000);
      const b = theirs.encode(plain, seed * 1000);
      expect(a.entries.equals(b.entries) && a.payload.equals(b.payload)).toBe(true);
      const back = Buffer.alloc(plain.length);
      theirs.decode(a, seed * 1000, back);
      expect(back.equals(plain)).toBe(true);
    }
  });

  test('a batch stays what it was while others are made', () => {
    const volume = open();
    const plain = mixture(4, BLOCK, 1);
    const first = volume.encode(plain, 0);
    const kept = copyOf(first);
    open({ volume: OTHER }).encode(randomBytes(16 * BLOCK), 9);
    volume.encode(randomBytes(16 * BLOCK), 9);
    expect(first.entries.equals(kept.entries) && first.payload.equals(kept.payload)).toBe(true);
  });

  test('volumes take turns, each with its own key', () => {
    const plain = mixture(3, BLOCK, 8);
    const volumes = [1, 2, 3].map((n) => ({
      codec: codec.openVolume({
        volume: `00000000-0000-4000-8000-00000000000${n}` as VolumeId,
        blockSize: BLOCK,
        compress: n !== 2,
        key: randomBytes(64),
      }),
      batch: undefined as Batch | undefined,
    }));
    for (const volume of volumes) volume.batch = volume.codec.encode(plain, 4);
    for (const volume of volumes.reverse()) {
      const back = Buffer.alloc(plain.length);
      volume.codec.decode(volume.batch!, 4, back);
      expect(back.equals(plain)).toBe(true);
    }
    expect(new Set(volumes.map(({ batch }) => batch!.payload.toString('hex'))).size).toBe(3);
  });

  test('closing one volume harms no other, and a closed one refuses', () => {
    const plain = mixture(3, BLOCK, 8);
    const one = open();
    const two = open();
    const batch = two.encode(plain, 4);
    one.encode(plain, 1);
    one.close();
    one.close();
    const back = Buffer.alloc(plain.length);
    two.decode(batch, 4, back);
    expect(back.equals(plain)).toBe(true);
    expect(() => one.encode(plain, 1)).toThrow('closed');
    expect(() => one.decode(batch, 4, back)).toThrow('closed');
  });

  test('bad arguments are refused', () => {
    expect(() => open({ blockSize: 512 })).toThrow(RangeError);
    expect(() => open({ blockSize: 131072 })).toThrow(RangeError);
    expect(() => open({ blockSize: 5000 })).toThrow(RangeError);
    const options = { volume: VOLUME, blockSize: BLOCK, compress: true };
    for (const length of [0, 32, 63, 65]) {
      expect(() => codec.openVolume({ ...options, key: randomBytes(length) })).toThrow(RangeError);
    }
    expect(() => codec.openVolume({ ...options, key: Buffer.alloc(64, 7) })).toThrow('weak');
    const volume = open();
    for (const length of [0, 1, BLOCK - 1, BLOCK + 1, (1 << 20) + BLOCK]) {
      expect(() => volume.encode(Buffer.alloc(length), 0)).toThrow(RangeError);
    }
    for (const first of [-1, 0.5, Number.NaN, 2 ** 53]) {
      expect(() => volume.encode(Buffer.alloc(BLOCK), first)).toThrow(RangeError);
    }
    const batch = volume.encode(Buffer.alloc(BLOCK), 0);
    expect(() => volume.decode(batch, 0, Buffer.alloc(100))).toThrow(RangeError);
    expect(() => codec.checksums(VOLUME).bad({ entries: Buffer.alloc(33), payload: Buffer.alloc(0) })).toThrow(
      RangeError,
    );
  });
});

describe('what is wrong is told apart', () => {
  let codec: Codec;
  let volume: VolumeCodec;
  /** Gives an entry the checksum that belongs to its payload, as a hostile node could. */
  let seal: (batch: Batch) => Batch;

  beforeAll(async () => {
    codec = await loadCodec({ engine: 'wasm' });
    volume = codec.openVolume({ volume: VOLUME, blockSize: BLOCK, compress: true });
    const { at, bytes, call } = await loadKernels();
    seal = ({ entries, payload }) => {
      bytes.set(Buffer.from(VOLUME.replaceAll('-', ''), 'hex'), at.VOLUME_ID);
      bytes.set(entries, at.ENTRIES);
      bytes.set(payload, at.STORED);
      call.seal(at.ENTRIES, entries.length / ENTRY_BYTES, at.STORED);
      return { entries: Buffer.from(bytes.slice(at.ENTRIES, at.ENTRIES + entries.length)), payload };
    };
  });

  function made(entries: Partial<Entry>[], payload: Buffer): Batch {
    const table = Buffer.alloc(entries.length * ENTRY_BYTES);
    entries.forEach((entry, i) => {
      const complete = {
        block: 0,
        blocks: 1,
        kind: KIND_DATA,
        flags: 0,
        storedLength: 0,
        checksumLow: 0,
        checksumHigh: 0,
      };
      writeEntry(table, i, { ...complete, ...entry });
    });
    return seal({ entries: table, payload });
  }

  const decoding = (batch: Batch, first: number, blocks: number) =>
    problemOf(() => volume.decode(batch, first, Buffer.alloc(blocks * BLOCK)));

  const raw = (block: number): Partial<Entry> => ({ block, storedLength: BLOCK });

  test('sound ones made by hand pass', () => {
    expect(decoding(made([raw(3), raw(4)], randomBytes(2 * BLOCK)), 3, 2)).toBeUndefined();
  });

  test('bad LZ4 streams', () => {
    const batch = made([raw(3), { block: 4, flags: FLAG_LZ4, storedLength: 100 }], randomBytes(BLOCK + 100));
    batch.payload.fill(0, BLOCK);
    expect(decoding(seal(batch), 3, 2)).toEqual({ kind: 'compressed', block: 4 });
  });

  test('lengths', () => {
    expect(decoding(made([{ storedLength: 100 }], randomBytes(100)), 0, 1)).toEqual({ kind: 'length', block: 0 });
    const short = Buffer.from([0x50, 1, 2, 3, 4, 5]);
    expect(decoding(made([{ flags: FLAG_LZ4, storedLength: 6 }], short), 0, 1)).toEqual({ kind: 'length', block: 0 });
    const encrypted = codec.openVolume({ volume: VOLUME, blockSize: BLOCK, compress: true, key: randomBytes(64) });
    const tiny = made([{ flags: FLAG_LZ4 | FLAG_XTS, storedLength: 15 }], randomBytes(15));
    const decode = () => encrypted.decode(tiny, 0, Buffer.alloc(BLOCK));
    expect(problemOf(decode)).toEqual({ kind: 'length', block: 0 });
  });

  test('entries that are not those asked for', () => {
    const payload = randomBytes(2 * BLOCK);
    const invalid = (block: number) => ({ kind: 'invalid', block });
    expect(decoding(made([raw(3), raw(5)], payload), 3, 2)).toEqual(invalid(4));
    expect(decoding(made([raw(4), raw(3)], payload), 3, 2)).toEqual(invalid(3));
    expect(decoding(made([raw(3), raw(4)], payload), 3, 3)).toEqual(invalid(5));
    expect(decoding(made([raw(3), raw(4)], payload), 3, 1)).toEqual(invalid(4));
    expect(decoding(made([{ kind: KIND_ZERO, blocks: 3 }], Buffer.alloc(0)), 0, 2)).toEqual(invalid(0));
    expect(decoding(made([{ kind: KIND_ZERO, blocks: 2 }], Buffer.alloc(1)), 0, 2)).toEqual(invalid(2));
    expect(decoding(made([{ kind: KIND_GENERATION, blocks: 0 }, raw(0)], randomBytes(BLOCK)), 0, 1)).toEqual(
      invalid(0),
    );
    expect(decoding(made([raw(0), { block: 1, storedLength: BLOCK + 1 }], payload), 0, 2)).toEqual(invalid(1));
    expect(decoding(made([{ ...raw(0), flags: 4 }], randomBytes(BLOCK)), 0, 1)).toEqual(invalid(0));
    const empty = { entries: Buffer.alloc(0), payload: Buffer.alloc(0) };
    expect(decoding(empty, 7, 1)).toEqual(invalid(7));
  });

  test('plain payloads in an encrypted volume, and the reverse', () => {
    const encrypted = codec.openVolume({ volume: VOLUME, blockSize: BLOCK, compress: true, key: randomBytes(64) });
    const into = Buffer.alloc(BLOCK);
    const plain = made([raw(0)], randomBytes(BLOCK));
    expect(problemOf(() => encrypted.decode(plain, 0, into))).toEqual({ kind: 'invalid', block: 0 });
    const marked = made([{ ...raw(0), flags: FLAG_XTS }], randomBytes(BLOCK));
    expect(problemOf(() => volume.decode(marked, 0, into))).toEqual({ kind: 'invalid', block: 0 });
  });

  test('checksums name all bad entries, also behind a broken length', () => {
    const batch = volume.encode(mixture(12, BLOCK, 2), 0);
    const bad = copyOf(batch);
    const entries = entriesOf(batch);
    const data = entries.flatMap(({ kind }, i) => (kind === KIND_DATA ? [i] : []));
    let position = 0;
    for (const [i, entry] of entries.entries()) {
      if (i === data[1] || i === data[4]) bad.payload[position]! ^= 0x80;
      position += entry.storedLength;
    }
    const checksums = codec.checksums(VOLUME);
    expect(checksums.bad(bad)).toEqual([data[1], data[4]]);
    expect(checksums.firstBad(bad)).toBe(data[1]);
    const cut = { entries: batch.entries, payload: batch.payload.subarray(0, batch.payload.length - 1) };
    expect(checksums.bad(cut)).toEqual([data.at(-1)]);
    expect(checksums.firstBad(batch)).toBe(-1);
  });
});
