/** What a copy holds, without the payloads: for the comparison of copies. */

import { z } from 'zod';
import type { DeploymentStore } from '../../core/ports.js';
import type { BlockNumber, Sequence } from '../../core/types.js';

/** Blocks in one page of an inventory. */
export const MAX_INVENTORY_BLOCKS = 4096;

const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const u32 = z.number().int().min(0).max(0xffff_ffff);

/** One block as stored: number, order, kind, flags, stored length, checksum (lower and upper half). */
const item = z.object({
  block: count,
  epoch: count,
  sequence: count,
  kind: z.number().int().min(0).max(255),
  flags: z.number().int().min(0).max(255),
  storedLength: u32,
  checksumLow: u32,
  checksumHigh: u32,
});

export const inventoryPage = z.object({
  blocks: z.array(item).max(MAX_INVENTORY_BLOCKS),
  /** Where to ask on; absent at the end. */
  next: count.optional(),
});

export type InventoryItem = z.infer<typeof item>;
export type InventoryPage = z.infer<typeof inventoryPage>;

/** The written blocks from `from` on, ascending, at most `limit`; zeroed and trimmed ones among them. */
export function takeInventory(store: DeploymentStore, from: BlockNumber, limit: number): InventoryPage {
  const most = Math.max(1, Math.min(limit, MAX_INVENTORY_BLOCKS));
  const numbers = store.newerThan(0 as Sequence, from, most);
  const blocks: InventoryItem[] = [];
  for (const number of numbers) {
    const found = store.lookup(number);
    if (found === undefined) continue;
    const { order, kind, flags, storedLength, checksumLow, checksumHigh } = found;
    blocks.push({
      block: number,
      epoch: order.epoch,
      sequence: order.sequence,
      kind,
      flags,
      storedLength,
      checksumLow,
      checksumHigh,
    });
  }
  const last = numbers.at(-1);
  return numbers.length < most || last === undefined ? { blocks } : { blocks, next: last + 1 };
}
