/**
 * The block store without network and frontend against a plain file on the same file system, in rounds in which both
 * take turns. Appends end with a flush, as a file's writes end with fdatasync; how many bytes reach the disk for each
 * that was written is beside them.
 */

import { closeSync, fdatasyncSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import type { BlockNumber } from '../../core/types.js';
import { openFileDisk } from '../../node-agent/store/file-disk.js';
import { writtenBytes } from '../processes.js';
import {
  append,
  BLOCK_BYTES,
  elsewhere,
  encode,
  identity,
  inDirectory,
  MIB,
  median,
  openStores,
  type StorePart,
  seconds,
} from './support.js';

/** A line of the table is cut short behind this, so that a slow machine is done within minutes. */
const LINE_S = 6;
const ROUNDS = 5;
const QUICK_ROUNDS = 3;
/** Different contents that are written in turn. */
const CONTENTS = 64;
/** Reads between two turns of the event loop. */
const READS_PER_TURN = 64;

interface Turn {
  readonly operations: number;
  readonly seconds: number;
  readonly writtenBytes: number;
}

export interface Rate {
  readonly what: string;
  readonly storePerSecond: number;
  readonly filePerSecond: number;
  readonly ratio: number;
  /** Of the store: bytes for the disk for each that was written; 0 for reads. */
  readonly writeAmplification: number;
}

export function measureRates({ place, quick }: StorePart): Promise<Rate[]> {
  return inDirectory(place, (directory) => rates(directory, quick));
}

async function rates(directory: string, quick: boolean): Promise<Rate[]> {
  const roundBytes = (quick ? 16 : 48) * MIB;
  const rows: Rate[] = [];
  /** Interleaved rounds of the same operations on both sides. */
  const compare = async (
    what: string,
    bytes: number,
    ours: () => Promise<number>,
    theirs: () => Promise<number>,
  ): Promise<void> => {
    const timed = async (run: () => Promise<number>): Promise<Turn> => {
      const written = writtenBytes();
      const since = performance.now();
      const operations = await run();
      return { operations, seconds: seconds(since), writtenBytes: writtenBytes() - written };
    };
    const turns: [Turn, Turn][] = [];
    const since = performance.now();
    const rounds = quick ? QUICK_ROUNDS : ROUNDS;
    for (let round = 0; round < rounds && (round === 0 || seconds(since) < LINE_S); round++) {
      turns.push([await timed(ours), await timed(theirs)]);
    }
    const rate = (one: Turn): number => one.operations / one.seconds;
    rows.push({
      what,
      storePerSecond: median(turns.map(([mine]) => rate(mine))),
      filePerSecond: median(turns.map(([, other]) => rate(other))),
      ratio: median(turns.map(([mine, other]) => rate(mine) / rate(other))),
      writeAmplification: median(turns.map(([mine]) => mine.writtenBytes / (mine.operations * bytes))),
    });
  };

  const stores = await openStores(openFileDisk(directory));
  const blocks = (4 * roundBytes) / BLOCK_BYTES;
  const store = await stores.create(identity(blocks));
  const file = openSync(join(directory, 'plain'), 'w+');
  const random = (count: number): number => Math.floor((Math.random() * blocks) / count) * count;
  for (const [name, count, flushEvery] of [
    ['append 4 KiB, random', 1, 0],
    ['append 128 KiB, in sequence', 32, 0],
    ['append 4 KiB and flush each', 1, 1],
    ['append 32 × 4 KiB and flush', 1, 32],
  ] as const) {
    const bytes = count * BLOCK_BYTES;
    const operations = flushEvery === 0 ? roundBytes / bytes : flushEvery * (quick ? 50 : 150);
    const batches = Array.from({ length: CONTENTS }, () => encode(0, count));
    let at = 0;
    const next = (): number => {
      if (count === 1) return random(count);
      at = (at + count) % blocks;
      return at;
    };
    await compare(
      name,
      bytes,
      async () => {
        for (let i = 1; i <= operations; i++) {
          await append(store, elsewhere(batches[i % CONTENTS]!, next()));
          if (flushEvery > 0 && i % flushEvery === 0) await store.flush();
          else if (i % CONTENTS === 0) await turn();
        }
        await store.flush();
        return operations;
      },
      async () => {
        for (let i = 1; i <= operations; i++) {
          const { payload } = batches[i % CONTENTS]!;
          writeSync(file, payload, 0, payload.length, next() * BLOCK_BYTES);
          if (flushEvery > 0 && i % flushEvery === 0) fdatasyncSync(file);
        }
        fdatasyncSync(file);
        return operations;
      },
    );
  }
  for (let first = 0; first < blocks; first += 256) await append(store, encode(first, 256));
  await store.flush();
  const target = Buffer.alloc(32 * BLOCK_BYTES);
  for (const [name, count] of [
    ['read 4 KiB, random, in the page cache', 1],
    ['read 128 KiB, in the page cache', 32],
  ] as const) {
    const bytes = count * BLOCK_BYTES;
    const operations = roundBytes / 4 / bytes;
    await compare(
      name,
      bytes,
      async () => {
        for (let i = 1; i <= operations; i++) {
          const first = random(count) as BlockNumber;
          if (store.readCached(first, count) === undefined) await store.read(first, count);
          if (i % READS_PER_TURN === 0) await turn();
        }
        return operations;
      },
      async () => {
        for (let i = 0; i < operations; i++) readSync(file, target, 0, bytes, random(count) * BLOCK_BYTES);
        return operations;
      },
    );
  }
  closeSync(file);
  await stores.close();
  return rows;
}
