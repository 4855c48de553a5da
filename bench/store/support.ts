/** What the benchmarks of the block store alone have in common. */

import { randomFillSync } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Disk } from '../../core/ports.js';
import { type Batch, ENTRY_BYTES } from '../../core/record.js';
import { withRoom } from '../../core/replication/room.js';
import type { DeploymentId, Epoch, Sequence, VolumeId } from '../../core/types.js';
import { systemClock, systemRandom } from '../../node-agent/clock.js';
import { loadCodec } from '../../node-agent/codec/index.js';
import type { LocalDeploymentStore } from '../../node-agent/store/deployment-store.js';
import { NodeStores, type NodeStoresOptions } from '../../node-agent/store/node-stores.js';

export const MIB = 1024 * 1024;
export const GIB = 1024 * MIB;
export const BLOCK_BYTES = 4096;
export const VOLUME = '11111111-1111-4111-8111-111111111111' as VolumeId;
export const DEPLOYMENT = '22222222-2222-4222-8222-222222222222' as DeploymentId;

export interface StorePart {
  /** The directory decides which file system is measured. */
  readonly place: string;
  readonly quick: boolean;
}

const codec = await loadCodec();
const volume = codec.openVolume({ volume: VOLUME, blockSize: BLOCK_BYTES, compress: false });

export function identity(blocks: number) {
  return { volume: VOLUME, deployment: DEPLOYMENT, blockSize: BLOCK_BYTES, blocks, etcdClusterId: 'bench' };
}

/** One of many deployments, all of the same volume, whose checksums they share. */
export function deploymentOf(i: number): DeploymentId {
  return `22222222-2222-4222-8222-${String(i).padStart(12, '0')}` as DeploymentId;
}

/** Random bytes that contents are cut from: making them anew takes longer than what is measured. */
const RANDOM = randomFillSync(Buffer.allocUnsafe(4 * MIB));

/** Incompressible contents, mostly other ones each time, for the blocks from `first` on; at most 256. */
export function encode(first: number, blocks: number): Batch {
  const length = blocks * BLOCK_BYTES;
  const from = Math.floor(Math.random() * (RANDOM.length - length));
  return volume.encode(RANDOM.subarray(from, from + length), first);
}

/**
 * The same contents elsewhere: only the block numbers change, with which the checksums don't match any more. For
 * what is only written. The table is a new one each time, as the store keeps the batch for a while.
 */
export function elsewhere(batch: Batch, first: number): Batch {
  const entries = Buffer.from(batch.entries);
  for (let at = 0, block = first; at < entries.length; at += ENTRY_BYTES, block++) {
    entries.writeUInt32LE(block % 2 ** 32, at);
    entries.writeUInt32LE(Math.floor(block / 2 ** 32), at + 4);
  }
  return { entries, payload: batch.payload };
}

export function openStores(disk: Disk, options: Partial<NodeStoresOptions> = {}): Promise<NodeStores> {
  return NodeStores.open({
    disk,
    clock: systemClock,
    random: systemRandom,
    bootId: 'bench',
    checksums: (id) => codec.checksums(id),
    reserveBytes: 0,
    ...options,
  });
}

/** As a primary does: no faster than the store asks for. Rejects with DiskError('no-space'). */
export async function append(store: LocalDeploymentStore, batch: Batch): Promise<void> {
  for (let delayMs = store.appendDelayMs; delayMs > 0; delayMs = store.appendDelayMs) await sleep(delayMs);
  await withRoom(store, batch, () => appendNow(store, batch));
}

export function appendNow(store: LocalDeploymentStore, batch: Batch): void {
  store.append({ epoch: 1 as Epoch, firstSequence: (store.last.sequence + 1) as Sequence, batch });
}

/** The same object with some methods replaced. */
export function overriding<T extends object>(object: T, methods: Partial<T>): T {
  return new Proxy(object, {
    get: (target, name) => {
      const value: unknown = Reflect.get(name in methods ? methods : target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

export const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!;
/** Of ascending values. */
export const quantile = (values: Float64Array | readonly number[], q: number): number =>
  values[Math.min(values.length - 1, Math.floor(q * values.length))] ?? 0;
export const seconds = (since: number): number => (performance.now() - since) / 1000;

export async function inDirectory<T>(place: string, run: (directory: string) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(place, 'bench-store-'));
  try {
    return await run(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}
