/** What the store's tests share: batches with checksums of their own, and stores on any disk. */

import type { Clock, DeploymentStore, Disk, IndexedBlock, Random } from '../../../core/ports.js';
import {
  type Batch,
  ENTRY_BYTES,
  KIND_DATA,
  KIND_GENERATION,
  readEntry,
  writeEntry,
  zeroEntry,
} from '../../../core/record.js';
import { withRoom } from '../../../core/replication/room.js';
import type { BlockNumber, DeploymentId, Epoch, Order, Sequence, VolumeId } from '../../../core/types.js';
import type { BlockChecksums } from '../../../node-agent/codec/index.js';
import { NodeStores, type NodeStoresOptions } from '../../../node-agent/store/index.js';

export const VOLUME = '11111111-1111-4111-8111-111111111111' as VolumeId;
export const DEPLOYMENT = '22222222-2222-4222-8222-222222222222' as DeploymentId;
export const BLOCK_BYTES = 4096;

export const epoch = (n: number) => n as Epoch;
export const sequence = (n: number) => n as Sequence;
export const block = (n: number) => n as BlockNumber;
export const order = (e: number, s: number): Order => ({ epoch: epoch(e), sequence: sequence(s) });

/** mulberry32. */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const hex = (digits: number): string =>
    Array.from({ length: digits }, () => Math.floor(next() * 16).toString(16)).join('');
  return { next, uuid: () => `${hex(8)}-${hex(4)}-4${hex(3)}-8${hex(3)}-${hex(12)}` };
}

/** A clock for disks without delays: what is due at once runs in the next turn, the rest never. */
export const instantClock: Clock = {
  now: () => 0,
  timestamp: () => '2026-01-01T00:00:00Z',
  after: (delayMs, run) => {
    if (delayMs > 0) return { cancel: () => {} };
    const immediate = setImmediate(run);
    return { cancel: () => clearImmediate(immediate) };
  },
};

/** FNV-1a over everything that the real checksum covers. */
function fnv(volume: string, blockNumber: number, flags: number, payload: Uint8Array): number {
  let hash = 0x811c9dc5;
  const mix = (byte: number): void => {
    hash = Math.imul(hash ^ byte, 0x01000193);
  };
  for (const character of `${volume}/${blockNumber}/${flags}`) mix(character.charCodeAt(0));
  for (const byte of payload) mix(byte);
  return hash >>> 0;
}

export function testChecksums(volume: VolumeId): BlockChecksums {
  const bad = ({ entries, payload }: Batch): number[] => {
    const found: number[] = [];
    let at = 0;
    for (let i = 0; i < entries.length / ENTRY_BYTES; i++) {
      const entry = readEntry(entries, i);
      if (entry.kind !== KIND_DATA) continue;
      const part = payload.subarray(at, at + entry.storedLength);
      at += entry.storedLength;
      if (fnv(volume, entry.block, entry.flags, part) !== entry.checksumLow || entry.checksumHigh !== 7) found.push(i);
    }
    return found;
  };
  return { bad, firstBad: (batch) => bad(batch)[0] ?? -1 };
}

export type TestEntry =
  | { readonly block: number; readonly data: Uint8Array }
  | { readonly block: number; readonly zero: number }
  | { readonly generation: number };

export function batchOf(...list: readonly TestEntry[]): Batch {
  const entries = Buffer.alloc(list.length * ENTRY_BYTES);
  const payloads: Uint8Array[] = [];
  for (const [i, entry] of list.entries()) {
    if ('generation' in entry) {
      writeEntry(entries, i, { ...zeroEntry(entry.generation, 0), kind: KIND_GENERATION });
    } else if ('zero' in entry) {
      writeEntry(entries, i, zeroEntry(entry.block, entry.zero));
    } else {
      payloads.push(entry.data);
      writeEntry(entries, i, {
        block: entry.block,
        blocks: 1,
        kind: KIND_DATA,
        flags: 0,
        storedLength: entry.data.length,
        checksumLow: fnv(VOLUME, entry.block, 0, entry.data),
        checksumHigh: 7,
      });
    }
  }
  return { entries, payload: Buffer.concat(payloads) };
}

/** Payload that tells blocks and versions apart, short by default. */
export function content(blockNumber: number, version: number, length = 40): Buffer {
  const text = `block ${blockNumber} version ${version} `;
  return Buffer.from(text.repeat(Math.ceil(length / text.length)).slice(0, length));
}

export const data = (blockNumber: number, version: number, length?: number): TestEntry => ({
  block: blockNumber,
  data: content(blockNumber, version, length),
});

export function openStores(disk: Disk, options: Partial<NodeStoresOptions> = {}): Promise<NodeStores> {
  return NodeStores.open({
    disk,
    clock: instantClock,
    random: seeded(1),
    bootId: 'boot-1',
    checksums: testChecksums,
    reserveBytes: 0,
    ...options,
  });
}

export const newDeployment = {
  volume: VOLUME,
  deployment: DEPLOYMENT,
  blockSize: BLOCK_BYTES,
  blocks: 262_144,
  etcdClusterId: 'abc',
} as const;

/** What the index has of one block. */
export function lookUp(store: DeploymentStore, number: number): Promise<IndexedBlock | undefined> {
  return store.look([block(number)], (lookup) => lookup(block(number)));
}

/** Appends to the stream when there is room; rejects with DiskError('no-space') if there is none. */
export function writeWhenRoom(store: DeploymentStore, ...entries: TestEntry[]): Promise<void> {
  return withRoom(store, batchOf(...entries), () => writeTo(store, ...entries));
}

/** Appends to the stream behind what is there. */
export function writeTo(store: DeploymentStore, ...entries: TestEntry[]): void {
  const firstSequence = sequence(store.last.sequence + 1);
  store.append({ epoch: epoch(Math.max(1, store.last.epoch)), firstSequence, batch: batchOf(...entries) });
}
