import { describe, expect, it } from 'vitest';
import { syncProgress } from '../../../cli/volume-output.js';
import { percentDone } from '../../../core/replication/sync-meter.js';
import type { DeploymentId } from '../../../core/types.js';
import { syncProgressView } from '../../../node-agent/api/sync-progress.js';

const BLOCK_BYTES = 4096;
const SIZE_BYTES = 10 * 2 ** 30;

/** A delta sync of a GiB in a larger volume. */
const progress = {
  target: 'a' as DeploymentId,
  kind: 'delta' as const,
  blocksTotal: 2 ** 30 / BLOCK_BYTES,
  blocksDone: 2 ** 28 / BLOCK_BYTES,
  bytesCopied: 1,
  blocksPerSecond: 2 ** 26 / BLOCK_BYTES,
  bytesPerSecond: 1,
  startedAtMs: 0,
};

function shown(patch: Partial<typeof progress> = {}): string {
  const view = syncProgressView({ ...progress, ...patch }, BLOCK_BYTES);
  const replica = { id: 'a', nodeID: 'n', health: 'syncing', ...(view !== undefined && { syncProgress: view }) };
  return syncProgress(replica, SIZE_BYTES);
}

function bar(filled: number): string {
  return '#'.repeat(filled).padEnd(30, '.');
}

describe('the progress of a sync, as the CLI shows it', () => {
  it('is of what there is to copy, not of the volume, and the same share as everywhere', () => {
    expect(shown()).toBe(`256 MiB/1.0 GiB [${bar(8)}] 25% ETA 12s`);
    for (const blocksDone of [0, 1, 99_999, progress.blocksTotal - 1, progress.blocksTotal]) {
      expect(shown({ blocksDone })).toContain(`] ${percentDone({ ...progress, blocksDone })}%`);
    }
  });

  it('is not known until the blocks are counted', () => {
    expect(shown({ blocksTotal: 0, blocksDone: 0 })).toBe('n/a');
  });

  it('is of the volume where a node tells no more than StorageOS does', () => {
    const syncing = { id: 'a', nodeID: 'n', health: 'syncing', syncProgress: { bytesRemaining: SIZE_BYTES / 2 } };
    expect(syncProgress(syncing, SIZE_BYTES)).toBe(`5.0 GiB/10 GiB [${bar(15)}] 50% ETA n/a`);
  });
});
