/** Random and hostile inputs for the codec, from a seed; throws at the first thing that is not as it must be. */

import { createCipheriv, createDecipheriv } from 'node:crypto';
import { type Batch, ENTRY_BYTES, FLAG_LZ4, FLAG_XTS, KIND_DATA, readEntry, writeEntry } from '../../../core/record.js';
import type { VolumeId } from '../../../core/types.js';
import { type Codec, CodecError, loadCodec, type VolumeCodec } from '../../../node-agent/codec/index.js';
import type { Kernels } from '../../../node-agent/codec/kernels.js';
import { compressBound, GuardedLz4 } from './guarded-lz4.js';
import { DATA_KINDS, loadKernels, makeData, seeded } from './harness.js';
import { lz4Reference } from './lz4-reference.js';

const VOLUME = '6f0c4f1e-52a0-4d9c-9d2b-2f3f6a7b8c9d' as VolumeId;
const BLOCK = 4096;
const UNTOUCHED = 0x3c;

export class CodecFuzzer {
  readonly #kernels: Kernels;
  readonly #lz4: GuardedLz4;
  readonly #plain: VolumeCodec;
  readonly #encrypted: readonly VolumeCodec[];

  private constructor(kernels: Kernels, codecs: readonly Codec[]) {
    const options = { volume: VOLUME, blockSize: BLOCK, compress: true };
    const key = makeData('noise', 64);
    this.#kernels = kernels;
    this.#lz4 = new GuardedLz4(kernels);
    this.#plain = codecs[0]!.openVolume(options);
    this.#encrypted = codecs.map((codec) => codec.openVolume({ ...options, key }));
  }

  static async create(): Promise<CodecFuzzer> {
    return new CodecFuzzer(await loadKernels(), [
      await loadCodec({ engine: 'wasm' }),
      await loadCodec({ engine: 'native' }),
    ]);
  }

  /** One round of everything. The same seed does the same. */
  round(seed: number): void {
    const random = seeded(seed * 2 + 1);
    for (let i = 0; i < 4; i++) random();
    try {
      this.#compression(random);
      this.#damagedStreams(random);
      this.#ciphers(random);
      this.#hostileBatches(random);
    } catch (cause) {
      throw new Error(`seed ${seed}: ${String(cause)}`, { cause });
    }
  }

  #compression(random: () => number): void {
    const plain = someData(random, 70_000);
    if (plain.length > 65_536) {
      if (this.#lz4.compress(plain, compressBound(plain.length)) !== undefined)
        throw new Error('too long, but accepted');
      return;
    }
    const limit = Math.floor(random() * 1.1 * compressBound(plain.length));
    const block = this.#lz4.compress(plain, limit, random() < 0.5 ? 'source' : 'target');
    if (block !== undefined && !lz4Reference(block, { strict: true }).equals(plain))
      throw new Error('not what went in');
    const whole = this.#lz4.compress(plain, compressBound(plain.length));
    if (whole === undefined) throw new Error('the bound is not enough');
    this.#lz4.agreesWithReference(whole, plain.length);
  }

  #damagedStreams(random: () => number): void {
    const plain = someData(random, 6000);
    const block = this.#lz4.compress(plain, compressBound(plain.length))!;
    const capacity = Math.max(0, plain.length + (random() < 0.5 ? 0 : Math.floor((random() - 0.5) * 64)));
    this.#lz4.agreesWithReference(damaged(block, random), capacity);
  }

  #ciphers(random: () => number): void {
    const { at, bytes, call } = this.#kernels;
    const key = makeData('noise', 64, Math.floor(random() * 2 ** 31));
    const tweak = makeData('noise', 16, Math.floor(random() * 2 ** 31));
    const plain = Buffer.concat([Buffer.alloc(16, 1), someData(random, 5000)]);
    bytes.set(key, at.KEY);
    if (call.expandKeys() !== 1) throw new Error('a sound key was refused');
    const start = at.PLAIN + Math.floor(random() * 16);
    const unit = bytes.subarray(start, start + plain.length);
    const stored = createCipheriv('aes-256-xts', key, tweak).update(plain);
    unit.set(plain);
    bytes.set(tweak, at.RESULT);
    call.xts(start, plain.length, 0);
    if (!stored.equals(unit)) throw new Error(`encryption of ${plain.length} bytes`);
    bytes.set(tweak, at.RESULT);
    call.xts(start, plain.length, 1);
    const back = createDecipheriv('aes-256-xts', key, tweak).update(stored);
    if (!back.equals(unit)) throw new Error(`decryption of ${plain.length} bytes`);
  }

  /** Batches that somebody changed who knows the format and gives them right checksums. */
  #hostileBatches(random: () => number): void {
    const count = 1 + Math.floor(random() * 5);
    const first = Math.floor(random() * 2 ** 40);
    const plain = Buffer.concat(
      Array.from({ length: count }, () => {
        const kind = DATA_KINDS[Math.floor(random() * DATA_KINDS.length)]!;
        return makeData(kind, BLOCK, Math.floor(random() * 2 ** 31));
      }),
    );
    for (const codec of [this.#plain, ...this.#encrypted]) {
      const sound = codec.encode(plain, first);
      const into = Buffer.alloc(plain.length, UNTOUCHED);
      codec.decode(sound, first, into);
      if (!into.equals(plain)) throw new Error('decoding does not give back what was encoded');
      const batch = this.#tampered(sound, random);
      into.fill(UNTOUCHED);
      try {
        codec.decode(batch, first, into);
      } catch (error) {
        if (!(error instanceof CodecError)) throw error;
        if (!into.every((byte) => byte === UNTOUCHED)) throw new Error('a refused batch has written something');
      }
    }
  }

  #tampered(batch: Batch, random: () => number): Batch {
    const entries = Buffer.from(batch.entries);
    const i = Math.floor((random() * entries.length) / ENTRY_BYTES);
    const entry = readEntry(entries, i);
    const pick = random();
    if (pick < 0.3) {
      entries[Math.floor(random() * entries.length)]! ^= 1 << Math.floor(random() * 8);
    } else if (pick < 0.5) {
      writeEntry(entries, i, { ...entry, storedLength: Math.floor(random() * 70_000) });
    } else if (pick < 0.6) {
      writeEntry(entries, i, { ...entry, flags: Math.floor(random() * 8), kind: KIND_DATA });
    } else if (pick < 0.7) {
      writeEntry(entries, i, { ...entry, blocks: Math.floor(random() * 2 ** 32) });
    }
    let payload = damaged(batch.payload, random);
    if (random() < 0.5) payload = Buffer.concat([payload, batch.payload]).subarray(0, batch.payload.length);
    return this.#sealed({ entries, payload });
  }

  /** With checksums that match, as far as the entries let one say where payloads are. */
  #sealed({ entries, payload }: Batch): Batch {
    let stored = 0;
    for (let i = 0; i < entries.length / ENTRY_BYTES; i++) {
      const { kind, storedLength, flags } = readEntry(entries, i);
      if (flags > (FLAG_LZ4 | FLAG_XTS)) return { entries, payload };
      if (kind === KIND_DATA) stored += storedLength;
    }
    if (stored > payload.length) return { entries, payload };
    const { at, bytes, call } = this.#kernels;
    bytes.set(Buffer.from(VOLUME.replaceAll('-', ''), 'hex'), at.VOLUME_ID);
    bytes.set(entries, at.ENTRIES);
    bytes.set(payload, at.STORED);
    call.seal(at.ENTRIES, entries.length / ENTRY_BYTES, at.STORED);
    return { entries: Buffer.from(bytes.slice(at.ENTRIES, at.ENTRIES + entries.length)), payload };
  }
}

function someData(random: () => number, most: number): Buffer {
  const length = 1 + Math.floor(random() ** 3 * most);
  const kind = DATA_KINDS[Math.floor(random() * DATA_KINDS.length)]!;
  return makeData(kind, length, Math.floor(random() * 2 ** 31));
}

function damaged(sound: Buffer, random: () => number): Buffer {
  const bytes = Buffer.from(sound);
  const pick = random();
  if (bytes.length === 0 || pick < 0.1) return bytes;
  if (pick < 0.25) return bytes.subarray(0, Math.floor(random() * bytes.length));
  if (pick < 0.35) return Buffer.concat([bytes, Buffer.from([random() * 256, random() * 256])]);
  if (pick < 0.5) {
    // Lengths and offsets live on extreme bytes.
    const value = [0, 1, 15, 0xf0, 0xff][Math.floor(random() * 5)]!;
    const at = Math.floor(random() * bytes.length);
    bytes.fill(value, at, Math.min(bytes.length, at + 1 + Math.floor(random() * 6)));
    return bytes;
  }
  for (let i = 0; i <= random() * 4; i++) bytes[Math.floor(random() * bytes.length)] = random() * 256;
  return bytes;
}
