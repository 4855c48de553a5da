/**
 * Delta syncs: a copy is away while a share of a full volume changes, comes back, and is brought in sync. It should
 * cost what has changed, as it is stored, however large the volume is.
 *
 * The volumes hold data that compresses well, so that large ones fit on small disks. A small share changes in single
 * blocks at random places, half of a volume in every second MiB.
 */

import { mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { release } from '../../core/record.js';
import { type Codec, loadCodec } from '../../node-agent/codec/index.js';
import { NbdClient, socketOf } from '../../test/setup/nbd-client.js';
import { type BenchVolume, Cluster } from '../data-path/cluster.js';
import { runFio } from '../data-path/fio.js';

const BLOCK_BYTES = 4096;
const MIB = 1 << 20;
const GIB = 2 ** 30;
/** What fio puts in front of zeroes, 512 bytes at a time. */
const COMPRESSIBLE = 99;
const DEPTH = 32;
/** Any prime that no volume is a multiple of: its multiples come to every block once. */
const STRIDE = 1_000_003;
/** What both copies take together of a volume's size, and what is left free beside them, bytes. */
const STORED_SHARE = 0.15;
const RESERVE_BYTES = 4 * GIB;
/** Changed in volumes of all sizes, for the time that the size alone costs; bytes. */
const SAME_BYTES = 4 * MIB;
/** Bytes copied for each that has changed, at the most; and the time for the same change in the largest volume. */
const GOAL = { copiedPerChanged: 1.05, largestToSmallest: 1.5 };

export interface DeltaRow {
  readonly volumeGib: number;
  /** Of the volume, per cent. */
  readonly changedPercent: number;
  readonly changedMib: number;
  /** What has changed, as it is stored; and what was sent. Payload, bytes. */
  readonly storedBytes: number;
  readonly copiedBytes: number;
  readonly copiedPerChanged: number;
  readonly seconds: number;
}

export interface DeltaResult {
  readonly goal: typeof GOAL;
  readonly rows: readonly DeltaRow[];
  /** The same change: its time in the largest volume to that in the smallest. */
  readonly largestToSmallest: number;
}

/** Parts of the volume that change: number of pieces, their length, and where the i-th begins; bytes. */
interface Change {
  readonly pieces: number;
  readonly bytes: number;
  readonly at: (i: number) => number;
}

function scattered(sizeBytes: number, bytes: number, round: number): Change {
  const blocks = sizeBytes / BLOCK_BYTES;
  const pieces = Math.max(1, Math.round(bytes / BLOCK_BYTES));
  return { pieces, bytes: BLOCK_BYTES, at: (i) => (((i + round) * STRIDE) % blocks) * BLOCK_BYTES };
}

function everySecondMib(sizeBytes: number): Change {
  return { pieces: sizeBytes / (2 * MIB), bytes: MIB, at: (i) => i * 2 * MIB };
}

/**
 * Volumes of these sizes, bytes, whose data is put below `place`; one for which that has no room is left out. `told`
 * is called after every change, with what there is by then.
 */
export async function measureDelta(
  sizes: readonly number[],
  place: string,
  told: (result: DeltaResult) => void,
): Promise<DeltaResult> {
  const codec = await loadCodec({ engine: 'wasm' });
  const rows: DeltaRow[] = [];
  const same: number[] = [];
  try {
    for (const sizeBytes of sizes) {
      const { bavail, bsize } = statfsSync(place);
      if (bavail * bsize < sizeBytes * STORED_SHARE + RESERVE_BYTES) {
        console.log(`  ${sizeBytes / GIB} GiB: left out, ${place} has no room for it`);
        continue;
      }
      const directory = mkdtempSync(join(place, 'bench-delta-'));
      const cluster = await Cluster.start({ directory, nodes: 2 });
      try {
        const shape = { sizeBytes, replicas: 1, encryption: false, compression: true };
        const volume = await cluster.createVolume(shape);
        await fill(volume.uri, sizeBytes);
        const changes = [
          scattered(sizeBytes, SAME_BYTES, 0),
          scattered(sizeBytes, sizeBytes * 0.0001, 1),
          scattered(sizeBytes, sizeBytes * 0.01, 2),
          everySecondMib(sizeBytes),
        ];
        for (const [round, change] of changes.entries()) {
          const row = await oneDelta(cluster, codec, volume, change, round);
          if (round === 0) same.push(row.seconds);
          rows.push(row);
          told(resultOf(rows, same));
        }
      } finally {
        await cluster.stop();
        rmSync(directory, { recursive: true });
      }
    }
  } finally {
    await codec.close();
  }
  return resultOf(rows, same);
}

function resultOf(rows: readonly DeltaRow[], same: readonly number[]): DeltaResult {
  return { goal: GOAL, rows: [...rows], largestToSmallest: same.at(-1)! / same[0]! };
}

async function fill(uri: string, sizeBytes: number): Promise<void> {
  const load = { pattern: 'write', blockBytes: MIB, depth: 4, seconds: 'whole', compressible: COMPRESSIBLE } as const;
  await runFio(uri, { ...load, sizeBytes });
}

/** The copy on node 1 is away while the volume changes. */
async function oneDelta(
  cluster: Cluster,
  codec: Codec,
  { id, uri, sizeBytes }: BenchVolume,
  change: Change,
  round: number,
): Promise<DeltaRow> {
  await cluster.kill(1);
  await cluster.untilInSync(id, 1);
  // No block is left as an earlier round has made it.
  const content = Buffer.alloc(change.bytes, `round ${round} `);
  await write(uri, change, content);
  await cluster.restart(1);
  const { bytesCopied, tookMs } = await cluster.sync(id, 1);
  await cluster.untilInSync(id, 2);
  const stored = change.pieces * payloadBytes(codec, id, content);
  const changed = change.pieces * change.bytes;
  return {
    volumeGib: sizeBytes / GIB,
    changedPercent: (100 * changed) / sizeBytes,
    changedMib: changed / MIB,
    storedBytes: stored,
    copiedBytes: bytesCopied,
    copiedPerChanged: bytesCopied / stored,
    seconds: tookMs / 1000,
  };
}

async function write(uri: string, { pieces, at }: Change, content: Buffer): Promise<void> {
  const client = await NbdClient.connect(socketOf(uri));
  try {
    let next = 0;
    const writer = async (): Promise<void> => {
      while (next < pieces) await client.write(at(next++), content);
    };
    await Promise.all(Array.from({ length: DEPTH }, writer));
    await client.flush();
  } finally {
    client.close();
  }
}

/** What the codec makes of it, as frontends do. */
function payloadBytes(codec: Codec, volume: BenchVolume['id'], content: Buffer): number {
  const encoder = codec.openVolume({ volume, blockSize: BLOCK_BYTES, compress: true });
  const batch = encoder.encode(content, 0);
  const bytes = batch.payload.length;
  release(batch);
  encoder.close();
  return bytes;
}
