/**
 * Counts anew what a checkpoint says of pages and payloads: from the pages of the index and of all snapshots. Nothing
 * may be held that nothing refers to, and nothing free that something does.
 */

import { expect } from 'vitest';
import type { Disk } from '../../../core/ports.js';
import { type Checkpoint, readCheckpoint } from '../../../node-agent/store/checkpoint.js';
import { FilePool } from '../../../node-agent/store/file-pool.js';
import { storeIdentity } from '../../../node-agent/store/format.js';
import { emptyRecord, isData, shapeOf } from '../../../node-agent/store/paged/extents.js';
import { IndexMemory } from '../../../node-agent/store/paged/index-memory.js';
import { MAX_ROWS, type PagePointer } from '../../../node-agent/store/paged/page.js';
import { PageFile } from '../../../node-agent/store/paged/page-file.js';
import { readRow } from '../../../node-agent/store/paged/page-tree.js';
import { SuperblockFile } from '../../../node-agent/store/superblock.js';

interface Counts {
  blocks: number;
  bytes: number;
}

/** Payloads by place: segment/offset → stored length. */
type Payloads = Map<string, number>;

/** Checks the one deployment of the disk, which no store has open; returns its checkpoint, if there is one. */
export async function auditIndex(disk: Disk, directory = 'data/db1/1'): Promise<Checkpoint | undefined> {
  const read = await SuperblockFile.read(disk, directory);
  if (!('superblock' in read)) throw new Error(`no superblock: ${JSON.stringify(read)}`);
  const { superblock } = read;
  if (superblock.checkpoint === null) return undefined;
  const identity = storeIdentity(superblock.volume, superblock.deployment);
  const { number, bytes } = superblock.checkpoint;
  const path = `${directory}/checkpoint.${number}`;
  const checkpoint = await readCheckpoint({ disk, path, identity, number }, bytes);
  if ('what' in checkpoint) throw new Error(JSON.stringify(checkpoint));
  const pool = new FilePool(disk, 4);
  const cache = new IndexMemory(1 << 24).part();
  const file = new PageFile({ disk, pool, directory, identity, cache, maxRows: MAX_ROWS });
  const slots = new Set<number>();
  const walk = async (pointer: PagePointer | undefined, payloads: Payloads): Promise<Payloads> => {
    if (pointer === undefined) return payloads;
    slots.add(pointer.slot);
    const page = await file.read(pointer);
    const record = emptyRecord();
    for (let row = 0; row < page.rows; row++) {
      if (page.level > 0) await walk(page.child(row), payloads);
      else {
        readRow(page, row, record);
        if (isData(shapeOf(record))) payloads.set(`${record.segment}/${record.offset}`, record.storedLength);
      }
    }
    return payloads;
  };
  const live = await walk(checkpoint.root, new Map());
  const held: Payloads = new Map();
  for (const { root } of checkpoint.snapshots) await walk(root, held);
  for (const place of live.keys()) held.delete(place);
  expect(checkpoint.slots.used, 'slots in use').toBe(slots.size);
  for (const slot of slots) expect(checkpoint.slots.isUsed(slot), `slot ${slot}`).toBe(true);
  const [liveBySegment, heldBySegment] = [bySegment(live), bySegment(held)];
  const rows = new Set(checkpoint.segments.map((row) => row.number));
  for (const segment of [...liveBySegment.keys(), ...heldBySegment.keys()]) {
    expect(rows.has(segment), `segment ${segment} is in the table`).toBe(true);
  }
  for (const row of checkpoint.segments) {
    const none = { blocks: 0, bytes: 0 };
    expect({ blocks: row.blocks, bytes: row.bytes }, `live in segment ${row.number}`).toEqual(
      liveBySegment.get(row.number) ?? none,
    );
    expect({ blocks: row.heldBlocks, bytes: row.heldBytes }, `held in segment ${row.number}`).toEqual(
      heldBySegment.get(row.number) ?? none,
    );
  }
  pool.close();
  return checkpoint;
}

function bySegment(payloads: Payloads): Map<number, Counts> {
  const counts = new Map<number, Counts>();
  for (const [place, bytes] of payloads) {
    const segment = Number(place.slice(0, place.indexOf('/')));
    const count = counts.get(segment) ?? { blocks: 0, bytes: 0 };
    counts.set(segment, { blocks: count.blocks + 1, bytes: count.bytes + bytes });
  }
  return counts;
}
