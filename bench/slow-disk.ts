/**
 * A copy on a fast disk beside one on a disk that takes 200 ms for every request, in one process: what the slow one
 * costs the other. The slow disk is nbdkit with its delay filter, nbdfuse, a loop device and ext4.
 *
 *   npm run bench -- slow-disk [--quick] [DIRECTORY]
 *
 * Needs root, FUSE, nbdkit and nbdfuse. Results go to bench/results/slow-disk.json.
 */

import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { monitorEventLoopDelay, performance } from 'node:perf_hooks';
import { noDeviceReason } from '../cluster/volumes.js';
import type { Batch } from '../core/record.js';
import type { BlockNumber, DeploymentId, Epoch, Sequence, VolumeId } from '../core/types.js';
import { systemClock, systemRandom } from '../node-agent/clock.js';
import { type Codec, loadCodec } from '../node-agent/codec/index.js';
import type { LocalDeploymentStore } from '../node-agent/store/deployment-store.js';
import { NodeStores, openFileDisk } from '../node-agent/store/index.js';
import { SlowDisk } from '../test/setup/slow-disk.js';
import { options } from './options.js';
import { saveResults } from './results.js';

const BLOCK_BYTES = 4096;
const BLOCKS = 8192;
const VOLUME = '11111111-1111-4111-8111-111111111111' as VolumeId;
const DEPLOYMENT = '22222222-2222-4222-8222-222222222222' as DeploymentId;
const SLOW_DISK_BYTES = 256 << 20;
const DELAY_MS = 200;
/** Reads that the slow copy has waiting at every moment. */
const SLOW_READS = 64;
const FLUSH_EVERY = 16;

type Kind = 'read, in memory' | 'read, not in memory' | 'append' | 'flush';

class Copy {
  readonly directory: string;
  readonly store: LocalDeploymentStore;
  readonly #stores: NodeStores;
  readonly #batches: readonly Batch[];

  private constructor(directory: string, stores: NodeStores, store: LocalDeploymentStore, codec: Codec) {
    this.directory = directory;
    this.#stores = stores;
    this.store = store;
    const volume = codec.openVolume({ volume: VOLUME, blockSize: BLOCK_BYTES, compress: false });
    this.#batches = Array.from({ length: BLOCKS }, (_, block) =>
      volume.encode(Buffer.alloc(BLOCK_BYTES, 1 + (block % 250)), block),
    );
  }

  static async open(directory: string, codec: Codec): Promise<Copy> {
    const stores = await NodeStores.open({
      disk: openFileDisk(directory),
      clock: systemClock,
      random: systemRandom,
      bootId: 'bench',
      checksums: (volume) => codec.checksums(volume),
      reserveBytes: 0,
    });
    const shape = { volume: VOLUME, deployment: DEPLOYMENT, blockSize: BLOCK_BYTES, blocks: BLOCKS };
    const copy = new Copy(directory, stores, await stores.create({ ...shape, etcdClusterId: 'bench' }), codec);
    for (let block = 0; block < BLOCKS; block++) copy.append(block);
    await copy.store.flush();
    return copy;
  }

  append(block: number): void {
    const firstSequence = (this.store.last.sequence + 1) as Sequence;
    this.store.append({ epoch: 1 as Epoch, firstSequence, batch: this.#batches[block]! });
  }

  async read(block: number): Promise<void> {
    await this.store.read(block as BlockNumber, 1);
  }

  async evict(): Promise<void> {
    const data = join(this.directory, 'data', 'dev1');
    for (const name of readdirSync(data)) await SlowDisk.evict(join(data, name));
  }

  close(): Promise<void> {
    return this.#stores.close();
  }
}

const anyBlock = (): number => Math.floor(Math.random() * BLOCKS);

/** Keeps a copy busy until it is told to stop. */
async function busy(copy: Copy, stopped: () => boolean): Promise<number> {
  let answers = 0;
  const reader = async (): Promise<void> => {
    while (!stopped()) {
      await copy.read(anyBlock());
      answers++;
    }
  };
  const writer = async (): Promise<void> => {
    while (!stopped()) {
      copy.append(anyBlock());
      await copy.store.flush();
      await copy.evict();
      answers++;
    }
  };
  await Promise.all([writer(), ...Array.from({ length: SLOW_READS }, reader)]);
  return answers;
}

/** Latencies of a client that has one request at a time on the fast copy, milliseconds. */
async function measure(copy: Copy, seconds: number): Promise<Map<Kind, number[]>> {
  const found = new Map<Kind, number[]>();
  const timed = async (kind: Kind, run: () => unknown): Promise<void> => {
    const since = performance.now();
    await run();
    const times = found.get(kind) ?? [];
    times.push(performance.now() - since);
    found.set(kind, times);
  };
  const until = performance.now() + seconds * 1000;
  for (let i = 1; performance.now() < until; i++) {
    const block = anyBlock();
    await timed('append', () => copy.append(block));
    await timed('read, in memory', () => copy.read(block));
    if (i % FLUSH_EVERY !== 0) continue;
    await timed('flush', () => copy.store.flush());
    await copy.evict();
    await timed('read, not in memory', () => copy.read(anyBlock()));
  }
  return found;
}

function quantiles(times: readonly number[]) {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (q: number): number => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
  return { count: times.length, p50: at(0.5), p99: at(0.99), p999: at(0.999), max: at(1) };
}

const reason = noDeviceReason();
if (reason !== undefined) throw new Error(`no slow disk can be made here: ${reason}`);
const { place, effort } = options({ sizeBytes: SLOW_DISK_BYTES });
const seconds = effort.seconds * 4;
const root = mkdtempSync(join(place, 'bench-slow-'));
const codec = await loadCodec();
const disk = await SlowDisk.start({ directory: root, sizeBytes: SLOW_DISK_BYTES, delayMs: DELAY_MS });
try {
  const fastDirectory = join(root, 'fast');
  mkdirSync(fastDirectory);
  const fast = await Copy.open(fastDirectory, codec);
  const slow = await Copy.open(disk.mountPoint, codec);
  await slow.evict();
  const results: Record<string, object> = {};
  for (const phase of ['alone', 'beside the busy slow copy'] as const) {
    let stopped = false;
    const load = phase === 'alone' ? Promise.resolve(0) : busy(slow, () => stopped);
    const loop = monitorEventLoopDelay({ resolution: 1 });
    loop.enable();
    const measured = await measure(fast, seconds);
    loop.disable();
    stopped = true;
    const answersOfSlow = await load;
    const rows = Object.fromEntries([...measured].map(([kind, times]) => [kind, quantiles(times)]));
    const eventLoopMs = { p50: loop.percentile(50) / 1e6, p999: loop.percentile(99.9) / 1e6, max: loop.max / 1e6 };
    results[phase] = { milliseconds: rows, eventLoopMs, answersOfSlow };
    console.log(`The fast copy, ${phase}: milliseconds; the slow one answered ${answersOfSlow} times`);
    console.table({ ...rows, 'event loop held up': eventLoopMs });
  }
  saveResults('slow-disk', { seconds, delayMs: DELAY_MS, slowReads: SLOW_READS }, results);
  await fast.close();
  await slow.close();
} finally {
  await disk.stop();
  rmSync(root, { recursive: true });
}
