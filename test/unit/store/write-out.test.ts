/** The log goes to the disk as it grows, and writers wait for a disk that falls behind. */

import { describe, expect, it } from 'vitest';
import { type Disk, DiskError, type DiskFile } from '../../../core/ports.js';
import { SimDisk } from '../../sim/sim-disk.js';
import { batchOf, DEPLOYMENT, data, epoch, newDeployment, openStores, order, seeded, sequence } from './support.js';

interface Piece {
  readonly path: string;
  readonly position: number;
  readonly length: number;
  readonly drop: boolean;
  readonly arrived: () => void;
  readonly failed: (error: unknown) => void;
}

/** A disk on which what is written out arrives when the test says so. */
function heldBack(disk: Disk, pieces: Piece[]): Disk {
  const held = (file: DiskFile): DiskFile =>
    new Proxy(file, {
      get: (target, name) => {
        if (name === 'writeOut') {
          return (position: number, length: number, drop: boolean) =>
            new Promise<void>((arrived, failed) => {
              pieces.push({ path: file.path, position, length, drop, arrived, failed });
            });
        }
        const value: unknown = Reflect.get(target, name);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  return new Proxy(disk, {
    get: (target, name) => {
      if (name === 'open') {
        return (path: string, options: { create: boolean }) => held(target.open(path, options));
      }
      if (name === 'openAsync') {
        return async (path: string, options: { create: boolean }) => held(await target.openAsync(path, options));
      }
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

async function open() {
  const pieces: Piece[] = [];
  const settings = { writeOutBytes: 10_000, maxWritingBytes: 25_000, segmentBytes: 200_000 };
  const sim = new SimDisk({ random: seeded(1) });
  const stores = await openStores(heldBack(sim.mount(), pieces), { settings });
  const store = await stores.create(newDeployment);
  const append = async (bytes: number): Promise<void> => {
    const firstSequence = sequence(store.last.sequence + 1);
    store.append({ epoch: epoch(1), firstSequence, batch: batchOf(data(firstSequence, 1, bytes)) });
    await store.written();
  };
  const backfill = async (bytes: number): Promise<void> => {
    store.backfill({ orders: [order(1, 1)], batch: batchOf(data(1, 1, bytes)) });
    await store.written();
  };
  return { sim, stores, store, pieces, append, backfill };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('what is appended', () => {
  it('is handed to the disk in pieces that follow each other, and writers wait while too much is under way', async () => {
    const { store, stores, pieces, append } = await open();
    for (let i = 0; i < 12; i++) await append(3_000);
    expect(pieces).toHaveLength(3);
    let end = 0;
    for (const { position, length } of pieces) {
      expect(position).toBe(end);
      expect(length).toBeGreaterThanOrEqual(10_000);
      end = position + length;
    }
    expect(store.appendDelayMs).toBeGreaterThan(0);
    for (const { arrived } of pieces.slice(0, 2)) arrived();
    await turn();
    expect(store.appendDelayMs).toBe(0);
    // Nobody waits for it but writers: a flush has the rest written itself.
    await store.flush();
    expect(store.durable).toBe(store.last.sequence);
    for (const { arrived } of pieces) arrived();
    await stores.close();
  });

  it('stays in memory, unless most of the piece came with a sync', async () => {
    const { stores, pieces, append, backfill } = await open();
    for (let i = 0; i < 4; i++) await append(3_000);
    for (let i = 0; i < 6; i++) await backfill(3_000);
    await append(1_000);
    await backfill(3_000);
    await append(1_000);
    await backfill(3_000);
    for (let i = 0; i < 4; i++) await append(3_000);
    expect(pieces.map(({ drop }) => drop)).toEqual([false, true, true, false]);
    for (const { arrived } of pieces) arrived();
    await stores.close();
  });

  it('and could not be written is lost: the store has failed, and is unclean when it is opened again', async () => {
    const { store, stores, pieces, append } = await open();
    for (let i = 0; i < 4; i++) await append(3_000);
    pieces[0]!.failed(new DiskError('io', pieces[0]!.path, 'input/output error'));
    await turn();
    await expect(append(10)).rejects.toThrow('failed');
    await store.close().catch(() => {});
    const again = await stores.open(DEPLOYMENT);
    expect(again.state.unclean).toBe(true);
    await stores.close();
  });

  it('and could not be written is not durable by a sync that heard nothing of it', async () => {
    const { store, stores, pieces, append } = await open();
    for (let i = 0; i < 4; i++) await append(3_000);
    pieces[0]!.failed(new DiskError('io', pieces[0]!.path, 'input/output error'));
    await expect(store.flush()).rejects.toThrow('input/output error');
    expect(store.durable).toBe(0);
    await stores.close().catch(() => {});
  });
});
