import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { DEFAULT_FRONTEND_SETTINGS } from '../../../core/frontend/settings.js';
import { VolumeFrontend } from '../../../core/frontend/volume-frontend.js';
import type { IoStatus } from '../../../core/messages.js';
import { MAX_WRITE_ZERO_BLOCKS, readEntry } from '../../../core/record.js';
import type { Generation, SessionNumber, VolumeId } from '../../../core/types.js';
import { systemClock, systemRandom } from '../../../node-agent/clock.js';
import { type Codec, loadCodec, type VolumeCodec } from '../../../node-agent/codec/index.js';
import { type LongRead, VolumeIo } from '../../../node-agent/frontend/volume-io.js';
import { membership, placements } from './fakes.js';
import { MemoryPrimary } from './memory-primary.js';

const VOLUME = '6f0c4f1e-52a0-4d9c-9d2b-2f3f6a7b8c9d' as VolumeId;
const BLOCK = 4096;
const SIZE = 2 << 20;
const OFFLOAD = 4 * BLOCK;

let codec: Codec;
beforeAll(async () => {
  codec = await loadCodec({ workers: 2, offloadBytes: OFFLOAD });
});
afterAll(() => codec.close());

/** A device over a primary in memory, and what it asked of its codec. */
function openDevice(wrap: (volume: VolumeCodec) => VolumeCodec = (volume) => volume, sizeBytes = SIZE) {
  const primary = new MemoryPrimary();
  const errors: unknown[] = [];
  let session = 0;
  const frontend = new VolumeFrontend({
    volume: { id: VOLUME, blockSize: BLOCK, blocks: sizeBytes / BLOCK, writethrough: false },
    generation: 1 as Generation,
    session: () => ++session as SessionNumber,
    connector: primary,
    clock: systemClock,
    random: systemRandom,
    settings: DEFAULT_FRONTEND_SETTINGS,
    events: { attention: () => undefined, fenced: () => undefined, log: () => undefined },
  });
  frontend.onMembership(membership(1, 0), placements);
  const key = randomBytes(64);
  const volume = codec.openVolume({ volume: VOLUME, blockSize: BLOCK, compress: true, key });
  const device = new VolumeIo({
    frontend,
    codec: wrap(volume),
    sizeBytes,
    blockSize: BLOCK,
    readOnly: false,
    offloadBytes: OFFLOAD,
    onCodecError: (error) => errors.push(error),
  });
  const close = async () => {
    await frontend.close();
    volume.close();
  };
  return { device, primary, frontend, volume, errors, close };
}

type Kind = 'write' | 'zero' | 'trim' | 'read' | 'flush' | 'pause';
interface Operation {
  readonly kind: Kind;
  readonly offset: number;
  readonly length: number;
  readonly fill: number;
}

/** Mostly whole blocks, from one to more than a batch has; in a small region, so that most of it overlaps. */
const operation = (): fc.Arbitrary<Operation> =>
  fc
    .record({
      kind: fc.constantFrom<Kind[]>('write', 'write', 'write', 'zero', 'trim', 'read', 'read', 'flush', 'pause'),
      block: fc.nat(24),
      blocks: fc.oneof(fc.constantFrom(1, 2, 3, 4, 5, 16, 40, 300)),
      skew: fc.oneof(
        { weight: 4, arbitrary: fc.constant(0) },
        { weight: 1, arbitrary: fc.integer({ min: -4000, max: 4000 }) },
      ),
      fill: fc.integer({ min: 1, max: 255 }),
    })
    .map(({ kind, block, blocks, skew, fill }) => {
      const offset = Math.max(0, block * BLOCK + skew);
      return { kind, offset, length: Math.max(1, blocks * BLOCK - Math.abs(skew)), fill };
    });

/** Half of it compresses. */
function content({ length, fill }: Operation): Buffer {
  const data = Buffer.alloc(length, fill);
  for (let at = 0; at + 2 * BLOCK <= length; at += 2 * BLOCK) randomBytes(BLOCK).copy(data, at);
  return data;
}

/** What the device should hold, and how it came to that. */
class Model {
  readonly content = Buffer.alloc(SIZE);
  readonly #changes: { readonly offset: number; readonly data: Buffer }[] = [];

  change(offset: number, data: Buffer): void {
    data.copy(this.content, offset);
    this.#changes.push({ offset, data: Buffer.from(data) });
  }

  /**
   * To be called with a read. The result says whether what came back has all earlier changes, and of those that came
   * while it was read, some: which ones may differ by block.
   */
  expectRead(offset: number, length: number): (got: Buffer) => boolean {
    const state = Buffer.from(this.content);
    const changesBefore = this.#changes.length;
    return (got) => {
      for (let at = offset; at < offset + length; ) {
        const end = Math.min((Math.floor(at / BLOCK) + 1) * BLOCK, offset + length);
        const part = got.subarray(at - offset, end - offset);
        let matches = part.equals(state.subarray(at, end));
        for (const change of this.#changes.slice(changesBefore)) {
          if (matches) break;
          const from = Math.max(at, change.offset);
          if (from >= Math.min(end, change.offset + change.data.length)) continue;
          change.data.copy(state, from, from - change.offset, end - change.offset);
          matches = part.equals(state.subarray(at, end));
        }
        if (!matches) return false;
        at = end;
      }
      return true;
    };
  }
}

describe('a volume whose long requests go to worker threads', () => {
  it('does overlapping requests in the order of the calls, whatever their sizes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(operation(), { minLength: 4, maxLength: 40 }), async (operations) => {
        const { device, errors, close } = openDevice();
        const model = new Model();
        const ended: Promise<void>[] = [];
        const ok = (status: IoStatus) => expect(status).toBe('ok');
        try {
          for (const [index, one] of operations.entries()) {
            const { kind, offset, length } = one;
            if (kind === 'pause') {
              await new Promise((resolve) => setImmediate(resolve));
            } else if (kind === 'write') {
              const data = content(one);
              model.change(offset, data);
              // From the answer on, the buffer is its owner's again.
              ended.push(
                device
                  .write(offset, data, index % 3 === 0)
                  .then(ok)
                  .then(() => void data.fill(0xee)),
              );
            } else if (kind === 'zero') {
              model.change(offset, Buffer.alloc(length));
              ended.push(device.zero(offset, length, false).then(ok));
            } else if (kind === 'trim') {
              const first = Math.ceil(offset / BLOCK) * BLOCK;
              const end = Math.floor((offset + length) / BLOCK) * BLOCK;
              if (first < end) model.change(first, Buffer.alloc(end - first));
              ended.push(device.trim(offset, length, false).then(ok));
            } else if (kind === 'read') {
              const isExpected = model.expectRead(offset, length);
              const into = Buffer.alloc(length, 0xdd);
              const check = (status: IoStatus) => {
                ok(status);
                expect(isExpected(into), `read of operation ${index}`).toBe(true);
              };
              ended.push(device.read(offset, into).then(check));
              const isExpectedLong = model.expectRead(offset, length);
              const checkLong = ({ status, data, lease }: LongRead) => {
                ok(status);
                expect(isExpectedLong(data), `long read of operation ${index}`).toBe(true);
                lease?.release();
              };
              ended.push(device.readLong(offset, length, codec.memory).then(checkLong));
            } else {
              ended.push(device.flush().then(ok));
            }
          }
          await Promise.all(ended);
          const all = Buffer.alloc(SIZE);
          ok(await device.read(0, all));
          expect(all.equals(model.content)).toBe(true);
          expect(errors).toEqual([]);
        } finally {
          await Promise.allSettled(ended);
          await close();
        }
      }),
      { numRuns: 60 },
    );
  });

  it('gives them whole requests from the threshold on, and no others', async () => {
    const asked: number[] = [];
    const { device, close } = openDevice((volume) => ({
      engine: volume.engine,
      encode: (plain, first) => volume.encode(plain, first),
      decode: (batch, first, into) => volume.decode(batch, first, into),
      decodeInPlace: (batch, first, length) => volume.decodeInPlace(batch, first, length),
      encodeAsync: (plain, first) => {
        asked.push(plain.length);
        return volume.encodeAsync(plain, first);
      },
      decodeAsync: (batch, first, into) => {
        asked.push(-into.length);
        return volume.decodeAsync(batch, first, into);
      },
      close: () => volume.close(),
    }));
    for (const length of [BLOCK, OFFLOAD - BLOCK, OFFLOAD, OFFLOAD + BLOCK, 100]) {
      const data = randomBytes(length);
      expect(await device.write(8 * BLOCK, data, false)).toBe('ok');
      const back = Buffer.alloc(length);
      expect(await device.read(8 * BLOCK, back)).toBe('ok');
      expect(back.equals(data)).toBe(true);
    }
    expect(asked).toEqual([OFFLOAD, -OFFLOAD, OFFLOAD + BLOCK, -OFFLOAD - BLOCK]);
    await close();
  });

  it('holds back only what overlaps', async () => {
    let encoded: (() => void) | undefined;
    const { device, close } = openDevice((volume) => ({
      engine: volume.engine,
      encode: (plain, first) => volume.encode(plain, first),
      decode: (batch, first, into) => volume.decode(batch, first, into),
      decodeInPlace: (batch, first, length) => volume.decodeInPlace(batch, first, length),
      encodeAsync: async (plain, first) => {
        await new Promise<void>((resolve) => {
          encoded = resolve;
        });
        return volume.encode(plain, first);
      },
      decodeAsync: async (batch, first, into) => volume.decode(batch, first, into),
      close: () => volume.close(),
    }));
    const order: string[] = [];
    const note = (name: string) => () => void order.push(name);
    const long = device.write(0, Buffer.alloc(OFFLOAD, 1), false).then(note('long'));
    const behind = device.write(BLOCK, Buffer.alloc(BLOCK, 2), false).then(note('short'));
    const into = Buffer.alloc(2 * BLOCK);
    const read = device.read(0, into).then(note('read'));
    expect(await device.write(OFFLOAD, Buffer.alloc(BLOCK, 3), false)).toBe('ok');
    expect(await device.read(OFFLOAD, Buffer.alloc(BLOCK))).toBe('ok');
    expect(order).toEqual([]);
    encoded?.();
    await Promise.all([long, behind, read]);
    expect(order).toEqual(['long', 'short', 'read']);
    expect(into.equals(Buffer.concat([Buffer.alloc(BLOCK, 1), Buffer.alloc(BLOCK, 2)]))).toBe(true);
    await close();
  });

  it('answers what was with them when it is closed, and reports nothing', async () => {
    const { device, frontend, volume, errors } = openDevice();
    expect(await device.write(0, randomBytes(SIZE), false)).toBe('ok');
    const statuses = [
      ...Array.from({ length: 4 }, (_, i) => device.write(i << 18, randomBytes(1 << 18), false)),
      device.write(1 << 18, randomBytes(7 << 18), false),
    ];
    volume.close();
    await frontend.close();
    for (const status of await Promise.all(statuses)) expect(status).toBe('io-error');
    expect(errors).toEqual([]);
  });

  it('gives an I/O error for blocks that were damaged, and leaves the buffer alone', async () => {
    const { device, primary, errors, close } = openDevice();
    expect(await device.write(0, randomBytes(8 * BLOCK), false)).toBe('ok');
    primary.blocks.get(5)!.payload[9]! ^= 1;
    const into = Buffer.alloc(8 * BLOCK, 7);
    expect(await device.read(0, into)).toBe('io-error');
    expect(into.equals(Buffer.alloc(8 * BLOCK, 7))).toBe(true);
    expect(errors).toMatchObject([{ kind: 'checksum', block: 5 }]);
    await close();
  });
});

describe('zeroes of a long range', () => {
  it.each(['trim', 'zero'] as const)('are written in pieces that hold up nobody: %s', async (kind) => {
    const { device, primary, frontend, close } = openDevice((volume) => volume, 2 ** 40);
    const end = 2 ** 32;
    for (const at of [0, end / 2, end - BLOCK, end]) {
      expect(await device.write(at, Buffer.alloc(BLOCK, 1), false)).toBe('ok');
    }
    const blocks: number[] = [];
    let underWay = 0;
    let most = 0;
    const write = frontend.write.bind(frontend);
    vi.spyOn(frontend, 'write').mockImplementation(async (batch, fua) => {
      blocks.push(readEntry(batch.entries, 0).blocks);
      most = Math.max(most, ++underWay);
      const status = await write(batch, fua);
      underWay--;
      return status;
    });
    expect(await device[kind](0, end, true)).toBe('ok');
    expect(Math.max(...blocks)).toBe(MAX_WRITE_ZERO_BLOCKS);
    expect(blocks.reduce((sum, count) => sum + count)).toBe(end / BLOCK);
    expect(most).toBeLessThanOrEqual(4);
    expect([...primary.blocks.keys()]).toEqual([end / BLOCK]);
    expect(primary.fuaWrites).toBe(blocks.length);
    await close();
  });

  it('end with the first piece that fails, and keep what overlaps in order until then', async () => {
    const { device, primary, frontend, close } = openDevice((volume) => volume, 2 ** 40);
    const write = vi.spyOn(frontend, 'write');
    const trimmed = device.trim(0, 2 ** 32, false);
    const behind = device.write(2 ** 31, Buffer.alloc(BLOCK, 1), false);
    expect([await trimmed, await behind]).toEqual(['ok', 'ok']);
    expect([...primary.blocks.keys()]).toEqual([2 ** 31 / BLOCK]);
    write.mockClear();
    primary.writeStatus = 'no-space';
    expect(await device.trim(0, 2 ** 32, false)).toBe('no-space');
    expect(write.mock.calls.length).toBeLessThan(10);
    await close();
  });
});
