/** Bytes of the messages between deployments (`core/messages.ts`); docs/internals/wire.md, "Peer messages". */

import {
  MAX_MEND_BLOCKS,
  type PeerEnvelope,
  type PeerMessage,
  PRIMARY_REQUESTS,
  REFUSAL_REASONS,
} from '../../core/messages.js';
import { MAX_BATCH_ENTRIES } from '../../core/record.js';
import { MAX_SYNC_REGIONS } from '../../core/replication/sync-regions.js';
import type { DeploymentId, HistoryEntry, NodeId, VolumeId } from '../../core/types.js';
import { type Frame, MAX_DEAD_BLOCKS, MAX_HISTORY_ENTRIES } from './wire.js';
import { type EncodedFrame, HeadReader, HeadWriter, UUID_BYTES } from './wire-fields.js';
import {
  batch,
  choice,
  entryOrders,
  type Field,
  flag,
  flaggedU64,
  MessageTable,
  numbers,
  order,
  records,
  text,
  u32,
  u64,
  uuid,
} from './wire-layout.js';

export interface PeerAddress {
  readonly volume: VolumeId;
  readonly from: DeploymentId;
  readonly to: DeploymentId;
}

/** Volume, receiver, sender. */
const ADDRESS_BYTES = 3 * UUID_BYTES;
const MAX_CLUSTER_ID_BYTES = 64;

const clusterId = (): Field<string> => text(MAX_CLUSTER_ID_BYTES);
const history = (): Field<readonly HistoryEntry[]> =>
  records(MAX_HISTORY_ENTRIES, { epoch: u64(), startsAfter: u64() });

const MESSAGES = new MessageTable<PeerMessage, 'epoch'>(
  'between deployments',
  { epoch: u64() },
  {
    promise: { primaryIncarnation: uuid(), etcdClusterId: clusterId(), history: history() },
    append: { incarnation: uuid(), orderEpoch: u64(), firstSequence: u64(), durable: flag(), batch: batch() },
    flush: { incarnation: uuid(), flush: u64() },
    lease: { incarnation: uuid(), lease: u64() },
    'sync-begin': {
      primaryIncarnation: uuid(),
      etcdClusterId: clusterId(),
      sync: u64(),
      streamAfter: order(),
      generation: u64(),
      history: history(),
    },
    'sync-dead': { incarnation: uuid(), sync: u64(), from: u64() },
    backfill: { incarnation: uuid(), sync: u64(), number: u64(), orders: entryOrders(), batch: batch() },
    'sync-mark': { incarnation: uuid(), sync: u64(), below: u64() },
    'sync-finish': { incarnation: uuid(), sync: u64(), last: order() },
    fetch: { request: u64(), blocks: numbers(MAX_BATCH_ENTRIES) },
    mended: { incarnation: uuid(), request: u64(), orders: entryOrders(), batch: batch() },
    promised: { incarnation: uuid(), last: order(), generation: u64(), unclean: flag() },
    appended: { incarnation: uuid(), last: u64(), durable: u64() },
    flushed: { incarnation: uuid(), flush: u64(), durable: u64() },
    leased: { incarnation: uuid(), lease: u64() },
    'sync-ready': {
      incarnation: uuid(),
      sync: u64(),
      base: order(),
      nextDead: flaggedU64(),
      dead: numbers(MAX_DEAD_BLOCKS),
    },
    'sync-dead-blocks': { incarnation: uuid(), sync: u64(), nextDead: flaggedU64(), dead: numbers(MAX_DEAD_BLOCKS) },
    backfilled: { incarnation: uuid(), sync: u64(), number: u64() },
    'sync-marked': {
      incarnation: uuid(),
      sync: u64(),
      regions: records(MAX_SYNC_REGIONS, { below: u64(), upTo: order() }),
    },
    'sync-finished': { incarnation: uuid(), sync: u64() },
    fetched: { request: u64(), orders: entryOrders(), batch: batch() },
    mend: {
      incarnation: uuid(),
      request: u64(),
      blocks: records(MAX_MEND_BLOCKS, { block: u64(), order: order(), checksumLow: u32(), checksumHigh: u32() }),
    },
    refused: { incarnation: uuid(), of: choice(PRIMARY_REQUESTS), reason: choice(REFUSAL_REASONS), last: order() },
  },
);

export function encodePeerMessage(address: PeerAddress, message: PeerMessage): EncodedFrame {
  const writer = new HeadWriter(ADDRESS_BYTES + MESSAGES.bytesOf(message));
  return MESSAGES.write(writer.uuid(address.volume).uuid(address.to).uuid(address.from), message);
}

/** `fromNode` is the identity that the sender's certificate proved. Errors: WireError. */
export function decodePeerMessage(frame: Frame, fromNode: NodeId): PeerEnvelope {
  const reader = new HeadReader(frame);
  const volume = reader.uuid() as VolumeId;
  const to = reader.uuid() as DeploymentId;
  const from = reader.uuid() as DeploymentId;
  return { volume, from, fromNode, to, message: MESSAGES.read(reader) };
}
