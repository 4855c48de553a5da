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
export async function takeInventory(store: DeploymentStore, from: BlockNumber, limit: number): Promise<InventoryPage> {
  const most = Math.max(1, Math.min(limit, MAX_INVENTORY_BLOCKS));
  const numbers = await store.newerThan(0 as Sequence, from, most);
  const found = await store.look(numbers, (lookup) => numbers.map((number) => lookup(number)));
  const blocks = found.flatMap((known): InventoryItem[] => {
    if (known === undefined) return [];
    const { order, ...rest } = known;
    return [{ epoch: order.epoch, sequence: order.sequence, ...rest }];
  });
  const last = numbers.at(-1);
  return numbers.length < most || last === undefined ? { blocks } : { blocks, next: last + 1 };
}
