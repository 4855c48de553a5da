/** Bytes of the messages between deployments (`core/messages.ts`); docs/internals/wire.md, "Peer messages". */

import {
  type BlockIdentity,
  MAX_MEND_BLOCKS,
  type PeerEnvelope,
  type PeerMessage,
  type PrimaryRequest,
  type RefusalReason,
} from '../../core/messages.js';
import type { StoredBlocks, SyncedRegion } from '../../core/ports.js';
import { entryCount, MAX_BATCH_ENTRIES } from '../../core/record.js';
import { MAX_SYNC_REGIONS } from '../../core/replication/sync-regions.js';
import type {
  BlockNumber,
  DeploymentId,
  Epoch,
  Generation,
  Incarnation,
  NodeId,
  Sequence,
  VolumeId,
} from '../../core/types.js';
import { FRAME, type Frame, WireError } from './wire.js';
import {
  type EncodedFrame,
  HeadReader,
  HeadWriter,
  historyBytes,
  numbersBytes,
  ORDER_BYTES,
  UUID_BYTES,
} from './wire-fields.js';

export interface PeerAddress {
  readonly volume: VolumeId;
  readonly from: DeploymentId;
  readonly to: DeploymentId;
}

/** Volume, sender, receiver, epoch. */
const PREFIX_BYTES = 3 * UUID_BYTES + 8;
const MAX_CLUSTER_ID_BYTES = 64;
/** Block, order, checksum. */
const IDENTITY_BYTES = 8 + ORDER_BYTES + 8;
/** End, order. */
const REGION_BYTES = 8 + ORDER_BYTES;

/** In the order of their codes on the wire: only ever appended to. */
const REFUSALS: readonly RefusalReason[] = [
  'stale-epoch',
  'wrong-incarnation',
  'unclean',
  'gap',
  'no-space',
  'store-failed',
  'no-sync',
  'wrong-cluster',
  'no-deployment',
  'bad-checksum',
  'not-promised',
  'busy',
];
const REFUSED_TYPES: readonly PrimaryRequest['type'][] = [
  'promise',
  'append',
  'flush',
  'lease',
  'sync-begin',
  'sync-dead',
  'backfill',
  'sync-finish',
  'fetch',
  'sync-mark',
];

function code<T>(values: readonly T[], value: T): number {
  const index = values.indexOf(value);
  if (index < 0) throw new WireError('malformed', `no code for ${String(value)}`);
  return index;
}

export function encodePeerMessage(address: PeerAddress, message: PeerMessage): EncodedFrame {
  const type = FRAME[message.type];
  const head = (bytes: number): HeadWriter =>
    new HeadWriter(PREFIX_BYTES + bytes).uuid(address.volume).uuid(address.to).uuid(address.from).u64(message.epoch);
  switch (message.type) {
    case 'promise': {
      const cluster = clusterIdBytes(message.etcdClusterId);
      return head(UUID_BYTES + cluster.length + historyBytes(message.history))
        .uuid(message.primaryIncarnation)
        .bytes(cluster)
        .history(message.history)
        .seal(type);
    }
    case 'append':
      return head(UUID_BYTES + 16 + message.batch.entries.length)
        .uuid(message.incarnation)
        .u64(message.orderEpoch)
        .u64(message.firstSequence)
        .sealBatch(type, message.durable, message.batch);
    case 'flush':
      return head(UUID_BYTES + 8)
        .uuid(message.incarnation)
        .u64(message.flush)
        .seal(type);
    case 'lease':
    case 'leased':
      return head(UUID_BYTES + 8)
        .uuid(message.incarnation)
        .u64(message.lease)
        .seal(type);
    case 'sync-begin': {
      const cluster = clusterIdBytes(message.etcdClusterId);
      return head(UUID_BYTES + cluster.length + 8 + ORDER_BYTES + 8 + historyBytes(message.history))
        .uuid(message.primaryIncarnation)
        .bytes(cluster)
        .u64(message.sync)
        .order(message.streamAfter)
        .u64(message.generation)
        .history(message.history)
        .seal(type);
    }
    case 'sync-dead':
      return head(UUID_BYTES + 16)
        .uuid(message.incarnation)
        .u64(message.sync)
        .u64(message.from)
        .seal(type);
    case 'backfill': {
      const writer = head(UUID_BYTES + 20 + ORDER_BYTES * message.orders.length + message.batch.entries.length)
        .uuid(message.incarnation)
        .u64(message.sync)
        .u64(message.number)
        .u32(message.orders.length);
      for (const order of message.orders) writer.order(order);
      return writer.sealBatch(type, false, message.batch);
    }
    case 'sync-mark':
      return head(UUID_BYTES + 16)
        .uuid(message.incarnation)
        .u64(message.sync)
        .u64(message.below)
        .seal(type);
    case 'sync-finish':
      return head(UUID_BYTES + 8 + ORDER_BYTES)
        .uuid(message.incarnation)
        .u64(message.sync)
        .order(message.last)
        .seal(type);
    case 'fetch':
      return head(8 + numbersBytes(message.blocks))
        .u64(message.request)
        .numbers(message.blocks)
        .seal(type);
    case 'promised':
      return head(UUID_BYTES + ORDER_BYTES + 8)
        .uuid(message.incarnation)
        .order(message.last)
        .u64(message.generation)
        .seal(type, message.unclean);
    case 'appended':
      return head(UUID_BYTES + 16)
        .uuid(message.incarnation)
        .u64(message.last)
        .u64(message.durable)
        .seal(type);
    case 'flushed':
      return head(UUID_BYTES + 16)
        .uuid(message.incarnation)
        .u64(message.flush)
        .u64(message.durable)
        .seal(type);
    case 'sync-ready': {
      const more = message.nextDead !== undefined;
      return head(UUID_BYTES + 8 + ORDER_BYTES + 8 + numbersBytes(message.dead))
        .uuid(message.incarnation)
        .u64(message.sync)
        .order(message.base)
        .u64(message.nextDead ?? 0)
        .numbers(message.dead)
        .seal(type, more);
    }
    case 'sync-dead-blocks': {
      const more = message.nextDead !== undefined;
      return head(UUID_BYTES + 16 + numbersBytes(message.dead))
        .uuid(message.incarnation)
        .u64(message.sync)
        .u64(message.nextDead ?? 0)
        .numbers(message.dead)
        .seal(type, more);
    }
    case 'backfilled':
      return head(UUID_BYTES + 16)
        .uuid(message.incarnation)
        .u64(message.sync)
        .u64(message.number)
        .seal(type);
    case 'sync-marked': {
      const writer = head(UUID_BYTES + 12 + REGION_BYTES * message.regions.length)
        .uuid(message.incarnation)
        .u64(message.sync)
        .u32(message.regions.length);
      for (const { below, upTo } of message.regions) writer.u64(below).order(upTo);
      return writer.seal(type);
    }
    case 'sync-finished':
      return head(UUID_BYTES + 8)
        .uuid(message.incarnation)
        .u64(message.sync)
        .seal(type);
    case 'fetched': {
      const writer = head(12 + ORDER_BYTES * message.orders.length + message.batch.entries.length)
        .u64(message.request)
        .u32(message.orders.length);
      for (const order of message.orders) writer.order(order);
      return writer.sealBatch(type, false, message.batch);
    }
    case 'mended': {
      const writer = head(UUID_BYTES + 12 + ORDER_BYTES * message.orders.length + message.batch.entries.length)
        .uuid(message.incarnation)
        .u64(message.request)
        .u32(message.orders.length);
      for (const order of message.orders) writer.order(order);
      return writer.sealBatch(type, false, message.batch);
    }
    case 'mend': {
      const writer = head(UUID_BYTES + 12 + IDENTITY_BYTES * message.blocks.length)
        .uuid(message.incarnation)
        .u64(message.request)
        .u32(message.blocks.length);
      for (const { block, order, checksumLow, checksumHigh } of message.blocks) {
        writer.u64(block).order(order).u32(checksumLow).u32(checksumHigh);
      }
      return writer.seal(type);
    }
    case 'refused':
      return head(UUID_BYTES + 2 + ORDER_BYTES)
        .uuid(message.incarnation)
        .u8(code(REFUSED_TYPES, message.of))
        .u8(code(REFUSALS, message.reason))
        .order(message.last)
        .seal(type);
  }
}

/** `fromNode` is the identity that the sender's certificate proved. Errors: WireError. */
export function decodePeerMessage(frame: Frame, fromNode: NodeId): PeerEnvelope {
  const reader = new HeadReader(frame);
  const volume = reader.uuid() as VolumeId;
  const to = reader.uuid() as DeploymentId;
  const from = reader.uuid() as DeploymentId;
  const epoch = reader.u64() as Epoch;
  const message = decodeMessage(frame.type, reader, epoch);
  reader.end();
  return { volume, from, fromNode, to, message };
}

function decodeMessage(type: number, reader: HeadReader, epoch: Epoch): PeerMessage {
  switch (type) {
    case FRAME.promise: {
      const primaryIncarnation = reader.uuid() as Incarnation;
      const etcdClusterId = readClusterId(reader);
      return { type: 'promise', epoch, history: reader.history(), primaryIncarnation, etcdClusterId };
    }
    case FRAME.append:
      return {
        type: 'append',
        epoch,
        incarnation: reader.uuid() as Incarnation,
        orderEpoch: reader.u64() as Epoch,
        firstSequence: reader.u64() as Sequence,
        batch: reader.batch(),
        durable: reader.flag,
      };
    case FRAME.flush:
      return { type: 'flush', epoch, incarnation: reader.uuid() as Incarnation, flush: reader.u64() };
    case FRAME.lease:
      return { type: 'lease', epoch, incarnation: reader.uuid() as Incarnation, lease: reader.u64() };
    case FRAME.leased:
      return { type: 'leased', epoch, incarnation: reader.uuid() as Incarnation, lease: reader.u64() };
    case FRAME['sync-begin']: {
      const primaryIncarnation = reader.uuid() as Incarnation;
      const etcdClusterId = readClusterId(reader);
      const sync = reader.u64();
      const streamAfter = reader.order();
      const generation = reader.u64() as Generation;
      const history = reader.history();
      return { type: 'sync-begin', epoch, history, primaryIncarnation, etcdClusterId, sync, streamAfter, generation };
    }
    case FRAME['sync-dead']:
      return {
        type: 'sync-dead',
        epoch,
        incarnation: reader.uuid() as Incarnation,
        sync: reader.u64(),
        from: reader.u64() as BlockNumber,
      };
    case FRAME.backfill:
      return {
        type: 'backfill',
        epoch,
        incarnation: reader.uuid() as Incarnation,
        sync: reader.u64(),
        number: reader.u64(),
        ...readStored(reader),
      };
    case FRAME['sync-mark']:
      return {
        type: 'sync-mark',
        epoch,
        incarnation: reader.uuid() as Incarnation,
        sync: reader.u64(),
        below: reader.u64() as BlockNumber,
      };
    case FRAME['sync-finish']:
      return {
        type: 'sync-finish',
        epoch,
        incarnation: reader.uuid() as Incarnation,
        sync: reader.u64(),
        last: reader.order(),
      };
    case FRAME.fetch:
      return { type: 'fetch', epoch, request: reader.u64(), blocks: reader.numbers<BlockNumber>(MAX_BATCH_ENTRIES) };
    case FRAME.promised:
      return {
        type: 'promised',
        epoch,
        incarnation: reader.uuid() as Incarnation,
        last: reader.order(),
        generation: reader.u64() as Generation,
        unclean: reader.flag,
      };
    case FRAME.appended:
      return {
        type: 'appended',
        epoch,
        incarnation: reader.uuid() as Incarnation,
        last: reader.u64() as Sequence,
        durable: reader.u64() as Sequence,
      };
    case FRAME.flushed:
      return {
        type: 'flushed',
        epoch,
        incarnation: reader.uuid() as Incarnation,
        flush: reader.u64(),
        durable: reader.u64() as Sequence,
      };
    case FRAME['sync-ready']:
      return {
        type: 'sync-ready',
        epoch,
        incarnation: reader.uuid() as Incarnation,
        sync: reader.u64(),
        base: reader.order(),
        ...readDead(reader),
      };
    case FRAME['sync-dead-blocks']:
      return {
        type: 'sync-dead-blocks',
        epoch,
        incarnation: reader.uuid() as Incarnation,
        sync: reader.u64(),
        ...readDead(reader),
      };
    case FRAME.backfilled:
      return {
        type: 'backfilled',
        epoch,
        incarnation: reader.uuid() as Incarnation,
        sync: reader.u64(),
        number: reader.u64(),
      };
    case FRAME['sync-marked']:
      return {
        type: 'sync-marked',
        epoch,
        incarnation: reader.uuid() as Incarnation,
        sync: reader.u64(),
        regions: readRegions(reader),
      };
    case FRAME['sync-finished']:
      return { type: 'sync-finished', epoch, incarnation: reader.uuid() as Incarnation, sync: reader.u64() };
    case FRAME.fetched:
      return { type: 'fetched', epoch, request: reader.u64(), ...readStored(reader) };
    case FRAME.mended:
      return {
        type: 'mended',
        epoch,
        incarnation: reader.uuid() as Incarnation,
        request: reader.u64(),
        ...readStored(reader),
      };
    case FRAME.mend:
      return {
        type: 'mend',
        epoch,
        incarnation: reader.uuid() as Incarnation,
        request: reader.u64(),
        blocks: readIdentities(reader),
      };
    case FRAME.refused:
      return {
        type: 'refused',
        epoch,
        incarnation: reader.uuid() as Incarnation,
        of: reader.choice(REFUSED_TYPES),
        reason: reader.choice(REFUSALS),
        last: reader.order(),
      };
    default:
      throw new WireError('unexpected', `frame type ${type} between deployments`);
  }
}

function readIdentities(reader: HeadReader): BlockIdentity[] {
  const count = reader.u32();
  if (count > MAX_MEND_BLOCKS) throw new WireError('malformed', `${count} blocks to mend`);
  return Array.from({ length: count }, () => ({
    block: reader.u64() as BlockNumber,
    order: reader.order(),
    checksumLow: reader.u32(),
    checksumHigh: reader.u32(),
  }));
}

function readRegions(reader: HeadReader): SyncedRegion[] {
  const count = reader.u32();
  if (count > MAX_SYNC_REGIONS) throw new WireError('malformed', `${count} regions`);
  return Array.from({ length: count }, () => ({ below: reader.u64() as BlockNumber, upTo: reader.order() }));
}

/** Entries with an order each. */
function readStored(reader: HeadReader): StoredBlocks {
  const orders = reader.orders(reader.u32());
  const batch = reader.batch();
  if (orders.length !== entryCount(batch)) {
    throw new WireError('malformed', `${orders.length} orders for ${entryCount(batch)} entries`);
  }
  return { orders, batch };
}

function readDead(reader: HeadReader): { dead: BlockNumber[]; nextDead?: BlockNumber } {
  const next = reader.u64() as BlockNumber;
  const dead = reader.numbers<BlockNumber>();
  return reader.flag ? { dead, nextDead: next } : { dead };
}

/** One byte of length, then the id's characters. */
function clusterIdBytes(id: string): Buffer {
  const text = Buffer.from(id, 'latin1');
  if (text.length > MAX_CLUSTER_ID_BYTES) throw new WireError('too-long', 'etcd cluster id');
  return Buffer.concat([Buffer.from([text.length]), text]);
}

function readClusterId(reader: HeadReader): string {
  const length = reader.u8();
  if (length > MAX_CLUSTER_ID_BYTES) throw new WireError('too-long', 'etcd cluster id');
  return reader.bytes(length).toString('latin1');
}
