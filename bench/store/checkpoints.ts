/**
 * What checkpoints cost those who read and write meanwhile: the same paced load on a store that makes none and on one
 * that makes one after the other, of a sparse index of a large volume. Latencies are those of the event loop's work:
 * from a request's turn to the end of its call, and how late the loop is.
 */

import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BlockNumber } from '../../core/types.js';
import { openFileDisk } from '../../node-agent/store/file-disk.js';
import {
  appendNow,
  BLOCK_BYTES,
  encode,
  GIB,
  identity,
  inDirectory,
  openStores,
  quantile,
  type StorePart,
  seconds,
} from './support.js';

const VOLUME_BYTES = 64 * GIB;
/** A checkpoint begins when so many blocks have changed: the load does that several times a second. */
const CHANGES_PER_CHECKPOINT = 4 * 1024;
const WRITES_PER_MS = 16;
const READS_PER_MS = 8;
const LOAD_S = 10;
const QUICK_LOAD_S = 3;
const CONTENTS = 256;
const NEVER = Number.MAX_SAFE_INTEGER;

interface Quantiles {
  readonly p50: number;
  readonly p999: number;
  readonly max: number;
}

export interface Checkpoints {
  readonly what: string;
  readonly checkpoints: number;
  readonly writesPerSecond: number;
  readonly appendMs: Quantiles;
  readonly readMs: Quantiles;
  readonly loopMs: Quantiles;
}

export async function measureCheckpoints({ place, quick }: StorePart): Promise<Checkpoints[]> {
  const rows: Checkpoints[] = [];
  for (const [what, entries] of [
    ['without checkpoints', NEVER],
    ['one after the other', CHANGES_PER_CHECKPOINT],
  ] as const) {
    rows.push(await inDirectory(place, (directory) => load(directory, what, entries, quick ? QUICK_LOAD_S : LOAD_S)));
  }
  return rows;
}

function quantiles(values: number[]): Quantiles {
  values.sort((a, b) => a - b);
  return { p50: quantile(values, 0.5), p999: quantile(values, 0.999), max: quantile(values, 1) };
}

async function load(directory: string, what: string, checkpointEntries: number, loadS: number): Promise<Checkpoints> {
  const settings = { checkpointEntries, ...(checkpointEntries === NEVER && { checkpointBytes: NEVER }) };
  const stores = await openStores(openFileDisk(directory), { settings, indexCacheBytes: GIB });
  const blocks = VOLUME_BYTES / BLOCK_BYTES;
  const store = await stores.create(identity(blocks));
  const appends: number[] = [];
  const reads: number[] = [];
  const written: number[] = [];
  const timed = (into: number[], run: () => unknown): void => {
    const since = performance.now();
    run();
    into.push(performance.now() - since);
  };
  const anyBlock = (): number => Math.floor(Math.random() * blocks);
  const loop = monitorEventLoopDelay({ resolution: 1 });
  const since = performance.now();
  loop.enable();
  while (seconds(since) < loadS) {
    await store.written();
    if (store.appendDelayMs > 0) {
      await sleep(store.appendDelayMs);
      continue;
    }
    for (let i = 0; i < WRITES_PER_MS; i++) {
      const block = anyBlock();
      // Encoding is not what is measured.
      const batch = encode(block, 1);
      timed(appends, () => appendNow(store, batch));
      if (written.length < CONTENTS) written.push(block);
      else written[appends.length % CONTENTS] = block;
    }
    for (let i = 0; i < READS_PER_MS; i++) {
      const block = written[Math.floor(Math.random() * written.length)] as BlockNumber;
      timed(reads, () => store.readCached(block, 1));
    }
    await sleep(1);
  }
  loop.disable();
  const took = seconds(since);
  const { checkpoints } = store.statistics.checkpoints;
  await stores.close();
  const loopMs = (percentile: number): number => loop.percentile(percentile) / 1e6;
  return {
    what,
    checkpoints,
    writesPerSecond: appends.length / took,
    appendMs: quantiles(appends),
    readMs: quantiles(reads),
    loopMs: { p50: loopMs(50), p999: loopMs(99.9), max: loop.max / 1e6 },
  };
}
