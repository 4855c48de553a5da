/**
 * The end of a sync: ordering stops for a moment, what is in flight drains, the target flushes [8], and the
 * swap adds it. From the issue of the swap it counts as a member, whatever becomes of the swap [7].
 */

import { enoughCopies } from '../failure-mode.js';
import { addMember } from '../membership.js';
import type { Timer } from '../ports.js';
import { ReplicationError } from './context.js';
import type { SyncSource } from './sync-source.js';

/** Attempts to drain before the sync gives up; the workflow begins it anew, with nothing left to copy. */
const DRAIN_ATTEMPTS = 10;

export async function addTarget(sync: SyncSource): Promise<void> {
  const { primary, stream } = sync;
  const { writes, context } = primary;
  const { clock, settings, spec } = context;
  for (let attempt = 0; attempt < DRAIN_ATTEMPTS; attempt++) {
    // Most of the flushing is done while writes go on.
    const copied = context.store.last.sequence;
    stream.wantDurable(copied);
    await sync.untilNot(
      () => stream.durable < copied,
      () => {},
    );
    let finished: Promise<void> | undefined;
    try {
      await sync.untilNot(
        () => !stream.current || primary.changing || writes.draining || !primary.ready,
        () => writes.drain(sync),
      );
      const until = clock.now() + settings.drainTimeoutMs;
      if ((await drained(sync, until)) && stream.current) finished = sync.finish();
      if (finished !== undefined && (await inTime(sync, finished, until))) {
        const { record } = primary;
        const { sequence } = context.store.last;
        const flushed = stream.current && stream.acked === sequence && stream.durable >= sequence;
        const wanted = sync.error === undefined && primary.ready && !primary.changing;
        if (writes.drain(sync) && flushed && wanted) {
          const complete = record.inSync.length >= (spec?.replicas ?? 0);
          const redundancy = {
            target: spec?.replicas ?? 0,
            ready: record.inSync.length,
            lost: record.outOfSync.length,
          };
          const enough = spec !== undefined && enoughCopies(spec.failureMode, redundancy);
          const next = addMember(record, sync.target, { complete, readOnly: record.readOnly && !enough });
          primary.countAsMember(stream);
          const swapped = primary.swap(next);
          writes.resume(sync);
          primary.progress();
          if (!(await swapped)) throw new ReplicationError('not-primary', 'deposed while the sync ended');
          return;
        }
      }
    } finally {
      writes.resume(sync);
      primary.progress();
    }
    // A target that is slow to flush is waited for while writes go on; its next flush has less to do.
    await finished;
    await sync.pause(settings.tickMs);
  }
  throw new ReplicationError('target-lost', 'what was in flight did not drain');
}

/** Whether it resolves by then. */
async function inTime(sync: SyncSource, promise: Promise<void>, until: number): Promise<boolean> {
  const { clock } = sync.primary.context;
  let timer: Timer | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = clock.after(Math.max(0, until - clock.now()), () => resolve(false));
  });
  try {
    return await Promise.race([promise.then(() => true), late]);
  } finally {
    timer?.cancel();
  }
}

/** Stops ordering and waits until target and members have everything; false if that takes too long. */
async function drained(sync: SyncSource, until: number): Promise<boolean> {
  const { primary, stream } = sync;
  const { clock, store } = primary.context;
  for (;;) {
    const done = primary.writes.drain(sync);
    primary.progress();
    if (done && stream.current && stream.acked === store.last.sequence) return true;
    if (clock.now() > until || !stream.current) return false;
    await sync.pause(1);
  }
}
