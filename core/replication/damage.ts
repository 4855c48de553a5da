/** Blocks whose stored bytes have gone bad: reading around them, and writing again what another copy has of them. */

import type { BlockIdentity } from '../messages.js';
import { isDead, sameOrder, UNKNOWN_EPOCH } from '../order.js';
import { BadBlockError, type DeploymentStore, type IndexedBlock, type Lookup, type StoredBlocks } from '../ports.js';
import { type Entry, entryCount, KIND_DATA, KIND_LOST, type Lender, lostEntry } from '../record.js';
import type { BlockNumber, HistoryEntry, Order, Sequence } from '../types.js';
import { EMPTY_BATCH, type EntryWithPayload, entriesOf, makeBatch } from './batches.js';
import type { Context } from './context.js';
import { withRoom } from './room.js';

export interface Intact {
  readonly stored: StoredBlocks;
  /** The asked blocks that are not in `stored`. */
  readonly bad: readonly IndexedBlock[];
}

/** What is intact of these blocks, as stored; at most MAX_BATCH_ENTRIES. What `lend` gave is the caller's to release. */
export async function readIntact(
  store: DeploymentStore,
  asked: readonly BlockNumber[],
  lend?: Lender,
): Promise<Intact> {
  const bad: IndexedBlock[] = [];
  for (let blocks = asked; blocks.length > 0; ) {
    try {
      return { stored: await store.readBlocks(blocks, lend), bad };
    } catch (error) {
      if (!(error instanceof BadBlockError)) throw error;
      const found = new Set(error.blocks.map((block) => block.block));
      const rest = blocks.filter((block) => !found.has(block));
      if (rest.length === blocks.length) throw error;
      bad.push(...error.blocks);
      blocks = rest;
    }
  }
  return { stored: { orders: [], batch: EMPTY_BATCH }, bad };
}

/**
 * Adds to what is intact what is known of the rest: that it is lost, with its order and checksum. Of whose order
 * nothing is known was written at `last` at the latest, the end of the stream before the blocks were read: what a
 * target has of it from before must not count, and what is written behind must.
 */
export function withLost({ stored, bad }: Intact, last: Order): StoredBlocks {
  const parts: EntryWithPayload[] = [...entriesOf(stored.batch)];
  for (const { block, checksumLow, checksumHigh } of bad) {
    parts.push({ entry: lostEntry(block, checksumLow, checksumHigh), payload: EMPTY_BATCH.payload });
  }
  return {
    orders: [...stored.orders, ...bad.map(({ order }) => (order.epoch === UNKNOWN_EPOCH ? last : order))],
    batch: makeBatch(parts),
  };
}

/** Those of `blocks` that were not overwritten meanwhile. */
export function stillPresent<B extends BlockIdentity>(store: DeploymentStore, blocks: readonly B[]): Promise<B[]> {
  return store.look(
    blocks.map(({ block }) => block),
    (lookup) =>
      blocks.filter((block) => {
        const present = lookup(block.block);
        return present !== undefined && sameOrder(present.order, block.order);
      }),
  );
}

export function sameChecksum(
  a: Pick<BlockIdentity, 'checksumLow' | 'checksumHigh'>,
  b: Pick<BlockIdentity, 'checksumLow' | 'checksumHigh'>,
): boolean {
  return a.checksumLow === b.checksumLow && a.checksumHigh === b.checksumHigh;
}

/**
 * It is not known which write of the block is lost, only its latest possible order: it is in a gap of an index
 * (decision 20), of this copy's or of that from which it came as lost. No lost write of a known order looks so.
 */
export function isUnidentified({ checksumLow, checksumHigh }: BlockIdentity): boolean {
  return checksumLow === 0 && checksumHigh === 0;
}

/**
 * Writes again, under their orders, those of `damaged` that the answer of another copy has with the same order and
 * checksum, unless they were overwritten meanwhile; and those that nobody can identify, if the other copy has all of
 * the stream up to `completeTo`, and they were written before. Returns what was written; nothing if the answer itself is
 * damaged.
 */
export async function rewriteDamaged(
  context: Pick<Context, 'store' | 'verify' | 'halted'>,
  answer: StoredBlocks,
  damaged: readonly IndexedBlock[],
  completeTo = 0 as Sequence,
): Promise<IndexedBlock[]> {
  const { store, verify } = context;
  if (answer.orders.length !== entryCount(answer.batch) || !verify(answer.batch)) return [];
  const blocks = damaged.map(({ block }) => block);
  return withRoom(store, answer.batch, () =>
    store.look(blocks, (lookup) => (context.halted ? [] : writeMatching(store, answer, damaged, completeTo, lookup))),
  );
}

function writeMatching(
  store: DeploymentStore,
  answer: StoredBlocks,
  damaged: readonly IndexedBlock[],
  completeTo: Sequence,
  lookup: Lookup,
): IndexedBlock[] {
  const wanted = new Map(damaged.map((block) => [block.block as number, block]));
  const parts: EntryWithPayload[] = [];
  const orders: Order[] = [];
  const written: IndexedBlock[] = [];
  let i = 0;
  for (const part of entriesOf(answer.batch)) {
    const order = answer.orders[i++]!;
    const block = wanted.get(part.entry.block);
    if (block === undefined) continue;
    if (!isSame(part.entry, order, block) && !fillsGap(part.entry, order, block, completeTo, store.state.history)) {
      continue;
    }
    const present = lookup(block.block);
    if (present === undefined || !sameOrder(present.order, block.order)) continue;
    parts.push(part);
    orders.push(order);
    written.push(block);
  }
  if (parts.length > 0) store.backfill({ orders, batch: makeBatch(parts) });
  return written;
}

function isSame(entry: Entry, order: Order, block: IndexedBlock): boolean {
  return entry.kind === KIND_DATA && sameOrder(order, block.order) && sameChecksum(entry, block);
}

/**
 * Of an unidentified block nothing is known but that it was written, or trimmed, at its order's sequence at the latest. A
 * copy that has everything up to there has it right, be it a hole.
 */
function fillsGap(
  entry: Entry,
  order: Order,
  block: IndexedBlock,
  completeTo: Sequence,
  history: readonly HistoryEntry[],
): boolean {
  const { epoch, sequence } = block.order;
  if (block.kind !== KIND_LOST || !isUnidentified(block) || completeTo < sequence) return false;
  // An end of another branch of the stream says nothing of this one: a sync replaces it.
  if (epoch !== UNKNOWN_EPOCH && isDead(block.order, history)) return false;
  return entry.kind !== KIND_LOST && order.sequence <= sequence && !isDead(order, history);
}
