/** Appends are written by another thread, one write at a time, and whoever needs the bytes waits for them. */

import { describe, expect, it } from 'vitest';
import { type Disk, DiskError, type DiskFile } from '../../../core/ports.js';
import type { Batch } from '../../../core/record.js';
import { StoreFailedError } from '../../../node-agent/store/index.js';
import { SimDisk } from '../../sim/sim-disk.js';
import {
  batchOf,
  block,
  content,
  DEPLOYMENT,
  data,
  epoch,
  newDeployment,
  openStores,
  seeded,
  sequence,
} from './support.js';

interface Held {
  readonly parts: number;
  readonly write: () => void;
  readonly fail: (error: DiskError) => void;
}

/** A disk on which segments are written when the test says so. */
function heldBack(disk: Disk, writes: Held[], holds: () => boolean): Disk {
  const held = (file: DiskFile): DiskFile =>
    new Proxy(file, {
      get: (target, name) => {
        if (name === 'writeAsync' && file.path.endsWith('.blob') && holds()) {
          return (buffers: readonly Uint8Array[], position: number) =>
            new Promise<void>((resolve, fail) => {
              const write = () => void target.writeAsync(buffers, position).then(resolve, fail);
              writes.push({ parts: buffers.length, write, fail });
            });
        }
        const value: unknown = Reflect.get(target, name);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  return new Proxy(disk, {
    get: (target, name) => {
      if (name === 'openAsync') {
        return async (path: string, options: { create: boolean }) => held(await target.openAsync(path, options));
      }
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

async function open() {
  const writes: Held[] = [];
  const sim = new SimDisk({ random: seeded(1) });
  let holds = true;
  const stores = await openStores(heldBack(sim.mount(), writes, () => holds));
  const store = await stores.create(newDeployment);
  let holders = 0;
  const lease = { exclusive: true, retain: () => void holders++, release: () => void holders-- };
  const append = (number: number): void => {
    const batch: Batch = { ...batchOf(data(number, 1)), lease };
    store.append({ epoch: epoch(1), firstSequence: sequence(store.last.sequence + 1), batch });
  };
  const letGo = (): void => {
    holds = false;
  };
  return { stores, store, writes, append, letGo, holders: () => holders };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Whether it has been settled by now. */
async function settled(promise: Promise<unknown>): Promise<boolean> {
  let done = false;
  const end = (): void => {
    done = true;
  };
  promise.then(end, end);
  await turn();
  return done;
}

describe('what is appended', () => {
  it('is written with all that came while the write before was under way, and held until then', async () => {
    const { store, writes, append, holders } = await open();
    append(1);
    await turn();
    append(2);
    append(3);
    await turn();
    expect(writes.map(({ parts }) => parts)).toEqual([2]);
    expect(holders()).toBe(3);
    writes[0]!.write();
    await turn();
    expect(writes.map(({ parts }) => parts)).toEqual([2, 4]);
    expect(holders()).toBe(2);
    writes[1]!.write();
    await store.written();
    expect(holders()).toBe(0);
  });

  it('has its place and its order at once; who reads it, wants it durable or wants the log waits', async () => {
    const { store, writes, append } = await open();
    append(1);
    expect(store.last.sequence).toBe(1);
    expect(await store.newerThan(sequence(0), block(0), 10)).toEqual([1]);
    const waiting = [store.read(block(1), 1), store.written(), store.flush(), store.readLog(sequence(1), 1e6)];
    for (const one of waiting) expect(await settled(one)).toBe(false);
    expect(store.readCached(block(1), 1)).toBeUndefined();
    expect(store.durable).toBe(0);
    writes[0]!.write();
    await Promise.all(waiting);
    expect((await store.read(block(1), 1)).batch.payload).toEqual(content(1, 1));
    expect(store.durable).toBe(1);
  });

  it.each([
    ['io', true],
    ['no-space', false],
  ] as const)('and cannot be written (%s) is confirmed to nobody; suspected of losses: %s', async (code, unclean) => {
    const { store, stores, writes, append, letGo, holders } = await open();
    append(1);
    await turn();
    writes[0]!.write();
    await store.written();
    append(2);
    await turn();
    append(3);
    const waiting = [store.written(), store.flush(), store.read(block(2), 1)].map((one) =>
      one.then(
        () => 'confirmed',
        () => 'refused',
      ),
    );
    writes[1]!.fail(new DiskError(code, 'data/dev1/vol.1.0.blob', 'refused by the test'));
    expect(await Promise.all(waiting)).toEqual(['refused', 'refused', 'refused']);
    expect(holders()).toBe(0);
    expect(() => append(4)).toThrow(StoreFailedError);
    letGo();
    const again = await stores.open(DEPLOYMENT);
    expect(again.state.unclean).toBe(unclean);
    expect(again.last.sequence).toBe(1);
    expect((await again.read(block(1), 1)).batch.payload).toEqual(content(1, 1));
  });
});
