/** What the messages of a sync hold, and what is left of a sync that ends in the middle. */

import { describe, expect, it } from 'vitest';
import type { PeerMessage, SyncProgress } from '../../../../core/messages.js';
import type { Timer } from '../../../../core/ports.js';
import { type Batch, ENTRY_BYTES, entryCount, readEntry } from '../../../../core/record.js';
import type { ReplicationSettings } from '../../../../core/replication/replicated-deployment.js';
import type { DeploymentId } from '../../../../core/types.js';
import { primaryWithTargets, THIRD } from './copies.js';

const BLOCKS = 60;

/** A primary whose blocks are all written; `mute`: what its copies do not answer. */
async function fullPrimary(
  settings: Partial<ReplicationSettings>,
  mute?: (to: DeploymentId, message: PeerMessage) => boolean,
) {
  const bench = await primaryWithTargets(mute, settings);
  for (let request = 1; request <= BLOCKS; request++) bench.write(request);
  await bench.until(() => bench.written(BLOCKS));
  return bench;
}

function holds({ entries }: Batch, block: number): boolean {
  return Array.from({ length: entries.length / ENTRY_BYTES }, (_, i) => readEntry(entries, i).block).includes(block);
}

/** Timers that run. */
function count(clock: { after: (delayMs: number, run: () => void) => Timer }): () => number {
  const after = clock.after.bind(clock);
  const running = new Set<object>();
  clock.after = (delayMs, run) => {
    const key = {};
    running.add(key);
    const timer = after(delayMs, () => {
      running.delete(key);
      run();
    });
    const cancel = (): void => {
      running.delete(key);
      timer.cancel();
    };
    return { cancel };
  };
  return () => running.size;
}

describe('the messages of a sync', () => {
  it.each([
    ['all blocks that may go together', {}, [BLOCKS]],
    ['16 blocks each where it has to be slow', { syncBytesPerSecond: 1 << 20 }, [12, 16, 16, 16]],
  ])('hold %s', async (_, settings, lengths) => {
    const { lab, until } = await fullPrimary(settings);
    const sync = lab.deployment.startSync(THIRD, () => {});
    sync.done.catch(() => {});
    await until(() => lab.swaps.length > 1);
    const sent = lab.all('backfill').map(({ batch }) => entryCount(batch));
    // Several are on their way at a time: a short one is read sooner.
    expect(sent.sort((a, b) => a - b)).toEqual(lengths);
    await lab.apply();
    await sync.done;
  });
});

describe('what a sync has to copy', () => {
  it('is counted while it is copied', async () => {
    const { lab, until } = await fullPrimary({});
    const { store } = lab.deployment;
    const newerThan = store.newerThan.bind(store);
    let counted = (): void => {};
    const counting = new Promise<void>((resolve) => {
      counted = resolve;
    });
    store.newerThan = async (after, from, limit) => {
      // Many at once: those are not sent.
      if (limit > 10_000) await counting;
      return newerThan(after, from, limit);
    };
    const told: SyncProgress[] = [];
    const sync = lab.deployment.startSync(THIRD, (progress) => told.push(progress));
    await until(() => told.at(-1)?.blocksDone === BLOCKS);
    expect(told.at(-1)).toMatchObject({ kind: 'full', blocksTotal: 0, blocksDone: BLOCKS });
    counted();
    await until(() => lab.swaps.length > 1);
    await lab.apply();
    expect(await sync.done).toMatchObject({ blocksTotal: BLOCKS, blocksDone: BLOCKS });
  });
});

describe('a sync that ends in the middle', () => {
  it('leaves no timer behind, whatever it waited for', async () => {
    // The stream to the target does not catch up, so that a mark waits for it; the last piece has no answer.
    const mute = (to: DeploymentId, message: PeerMessage): boolean => {
      if (to !== THIRD) return false;
      return message.type === 'append' || (message.type === 'backfill' && holds(message.batch, BLOCKS));
    };
    const { lab, until } = await fullPrimary({ syncMarkMs: 0, syncBytesPerSecond: 1 << 20 }, mute);
    const before = lab.all('sync-mark').length;
    const running = count(lab.deployment.clock);
    const sync = lab.deployment.startSync(THIRD, () => {});
    const ended = expect(sync.done).rejects.toMatchObject({ code: 'cancelled' });
    await until(() => lab.all('backfill').length > 3);
    await lab.pass(30);
    // The primary's tick, and the mark that waits for the stream.
    expect(running()).toBe(2);
    sync.cancel();
    await ended;
    await lab.pass(0);
    expect(lab.all('sync-mark').length).toBe(before);
    expect(running()).toBe(1);
  });
});
