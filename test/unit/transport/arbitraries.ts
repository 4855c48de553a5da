/** Arbitrary messages of every type, for the tests of the wire format. */

import fc from 'fast-check';
import {
  type FrontendMessage,
  type PeerMessage,
  PRIMARY_REQUESTS,
  REFUSAL_REASONS,
  type SessionMessage,
} from '../../../core/messages.js';
import { type Batch, ENTRY_BYTES, KIND_DATA, writeEntry, zeroEntry } from '../../../core/record.js';
import type {
  BlockNumber,
  DeploymentId,
  Epoch,
  Generation,
  Incarnation,
  NodeId,
  Order,
  Sequence,
  SessionNumber,
} from '../../../core/types.js';

const number = fc.oneof(
  fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
  fc.constantFrom(0, 1, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER),
);
const as = <T extends number>(): fc.Arbitrary<T> => number as fc.Arbitrary<number> as fc.Arbitrary<T>;
const epoch = as<Epoch>();
const sequence = as<Sequence>();
const generation = as<Generation>();
const session = as<SessionNumber>();
const block = as<BlockNumber>();
const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const incarnation = fc.uuid() as fc.Arbitrary<string> as fc.Arbitrary<Incarnation>;
const order: fc.Arbitrary<Order> = fc.record({ epoch, sequence });
const history = fc.array(fc.record({ epoch, startsAfter: sequence }), { maxLength: 40 });
const blocks = fc.array(block, { maxLength: 100 });
const etcdClusterId = fc.stringMatching(/^[0-9a-f]{0,64}$/);

export const batch: fc.Arbitrary<Batch> = fc
  .array(fc.record({ block, length: fc.integer({ min: 0, max: 1500 }), low: u32, high: u32 }), { maxLength: 20 })
  .map((items) => {
    const entries = Buffer.alloc(items.length * ENTRY_BYTES);
    items.forEach(({ block: at, length, low, high }, i) => {
      const entry = {
        block: at,
        blocks: 1,
        kind: KIND_DATA,
        flags: 1,
        storedLength: length,
        checksumLow: low,
        checksumHigh: high,
      };
      writeEntry(entries, i, length === 0 ? zeroEntry(at, 3) : entry);
    });
    const payload = Buffer.alloc(items.reduce((sum, { length }) => sum + length, 0));
    for (let i = 0; i < payload.length; i++) payload[i] = (i * 31) & 0xff;
    return { entries, payload };
  });

const withOrders = batch.chain((made) =>
  fc
    .array(order, { minLength: made.entries.length / ENTRY_BYTES, maxLength: made.entries.length / ENTRY_BYTES })
    .map((orders) => ({ batch: made, orders })),
);
const dead = fc.oneof(fc.record({ dead: blocks }), fc.record({ dead: blocks, nextDead: block }));

type Of<M extends { type: string }, T extends M['type']> = Extract<M, { type: T }>;
type Fields<M> = { [K in keyof M]: M[K] };
type Table<M extends { type: string }> = { [T in M['type']]: fc.Arbitrary<Fields<Of<M, T>>> };

/** One of each: a message type without an entry does not compile. */
export const peerMessages: Table<PeerMessage> = {
  promise: fc.record({ type: fc.constant('promise'), epoch, history, primaryIncarnation: incarnation, etcdClusterId }),
  append: fc.record({
    type: fc.constant('append'),
    epoch,
    incarnation,
    orderEpoch: epoch,
    firstSequence: sequence,
    batch,
    durable: fc.boolean(),
  }),
  flush: fc.record({ type: fc.constant('flush'), epoch, incarnation, flush: number }),
  lease: fc.record({ type: fc.constant('lease'), epoch, incarnation, lease: number }),
  'sync-begin': fc.record({
    type: fc.constant('sync-begin'),
    epoch,
    history,
    primaryIncarnation: incarnation,
    etcdClusterId,
    sync: number,
    streamAfter: order,
    generation,
  }),
  'sync-dead': fc.record({ type: fc.constant('sync-dead'), epoch, incarnation, sync: number, from: block }),
  backfill: fc
    .tuple(fc.record({ type: fc.constant('backfill'), epoch, incarnation, sync: number, number }), withOrders)
    .map(([head, stored]) => ({ ...head, ...stored })),
  'sync-mark': fc.record({ type: fc.constant('sync-mark'), epoch, incarnation, sync: number, below: block }),
  'sync-finish': fc.record({ type: fc.constant('sync-finish'), epoch, incarnation, sync: number, last: order }),
  fetch: fc.record({ type: fc.constant('fetch'), epoch, request: number, blocks }),
  promised: fc.record({
    type: fc.constant('promised'),
    epoch,
    incarnation,
    last: order,
    generation,
    unclean: fc.boolean(),
  }),
  appended: fc.record({ type: fc.constant('appended'), epoch, incarnation, last: sequence, durable: sequence }),
  flushed: fc.record({ type: fc.constant('flushed'), epoch, incarnation, flush: number, durable: sequence }),
  leased: fc.record({ type: fc.constant('leased'), epoch, incarnation, lease: number }),
  'sync-ready': fc
    .tuple(fc.record({ type: fc.constant('sync-ready'), epoch, incarnation, sync: number, base: order }), dead)
    .map(([head, list]) => ({ ...head, ...list })),
  'sync-dead-blocks': fc
    .tuple(fc.record({ type: fc.constant('sync-dead-blocks'), epoch, incarnation, sync: number }), dead)
    .map(([head, list]) => ({ ...head, ...list })),
  backfilled: fc.record({ type: fc.constant('backfilled'), epoch, incarnation, sync: number, number }),
  'sync-marked': fc.record({
    type: fc.constant('sync-marked'),
    epoch,
    incarnation,
    sync: number,
    regions: fc.array(fc.record({ below: block, upTo: order }), { maxLength: 16 }),
  }),
  'sync-finished': fc.record({ type: fc.constant('sync-finished'), epoch, incarnation, sync: number }),
  fetched: fc
    .tuple(fc.record({ type: fc.constant('fetched'), epoch, request: number }), withOrders)
    .map(([head, stored]) => ({ ...head, ...stored })),
  mended: fc
    .tuple(fc.record({ type: fc.constant('mended'), epoch, incarnation, request: number }), withOrders)
    .map(([head, stored]) => ({ ...head, ...stored })),
  mend: fc.record({
    type: fc.constant('mend'),
    epoch,
    incarnation,
    request: number,
    blocks: fc.array(fc.record({ block, order, checksumLow: u32, checksumHigh: u32 }), { maxLength: 256 }),
  }),
  refused: fc.record({
    type: fc.constant('refused'),
    epoch,
    incarnation,
    of: fc.constantFrom(...PRIMARY_REQUESTS),
    reason: fc.constantFrom(...REFUSAL_REASONS),
    last: order,
  }),
};

const status = fc.constantFrom('ok', 'no-space', 'read-only', 'io-error', 'invalid');

export const frontendMessages: Table<FrontendMessage> = {
  open: fc.record({ type: fc.constant('open'), session, generation }),
  write: fc.record({ type: fc.constant('write'), session, request: number, fua: fc.boolean(), batch }),
  read: fc.record({ type: fc.constant('read'), session, request: number, block, blocks: u32 }),
  sync: fc.record({ type: fc.constant('sync'), session, request: number }),
};

const reason = fc.constantFrom('not-primary', 'fenced', 'stale-session');
const node = fc.uuid() as fc.Arbitrary<string> as fc.Arbitrary<NodeId>;

export const sessionMessages: Table<SessionMessage> = {
  opened: fc.record({ type: fc.constant('opened'), session, epoch, lossVerifier: number }),
  rejected: fc.oneof(
    fc.record({ type: fc.constant('rejected'), session, reason }),
    fc.record({ type: fc.constant('rejected'), session, reason, primary: node }),
  ),
  written: fc.record({ type: fc.constant('written'), request: number, status }),
  data: fc.record({ type: fc.constant('data'), request: number, status, batch }),
  synced: fc.record({ type: fc.constant('synced'), request: number, status }),
};

export const address = fc.record({
  volume: fc.uuid() as fc.Arbitrary<string>,
  from: fc.uuid() as fc.Arbitrary<string> as fc.Arbitrary<DeploymentId>,
  to: fc.uuid() as fc.Arbitrary<string> as fc.Arbitrary<DeploymentId>,
});
