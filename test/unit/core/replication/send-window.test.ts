import { describe, expect, it } from 'vitest';
import { ENTRY_BYTES, entryCount } from '../../../../core/record.js';
import type { Sequence } from '../../../../core/types.js';
import { lifeOf, primaryWithTargets, THIRD } from './copies.js';
import { SELF } from './lab.js';

describe('the stream to a target that does not confirm', () => {
  const WINDOW = 32 << 10;
  const BYTES = 4_000;

  it('stops at its bound, holds up nobody, and goes on where it stopped', async () => {
    let silent = true;
    let sent = 0;
    let confirmed = 0;
    let end = 0;
    const { lab, receive, write, written, until } = await primaryWithTargets(
      (to, message) => {
        if (to !== THIRD) return false;
        if (message.type === 'append') {
          const last = message.firstSequence + entryCount(message.batch) - 1;
          if (silent) end = last;
          else confirmed = last;
          sent += message.batch.entries.length + message.batch.payload.length;
        }
        return silent && message.type !== 'sync-begin';
      },
      { maxUnconfirmedBytes: WINDOW, catchUpBytes: WINDOW, memberTimeoutMs: 60_000, syncTimeoutMs: 60_000 },
    );
    write(50, BYTES);
    await until(() => written(50));
    const sync = lab.deployment.startSync(THIRD, () => {});
    await lab.pass(20);
    for (let request = 100; request < 140; request++) {
      write(request, BYTES);
      await lab.pass(5);
    }
    expect(written(139)).toBe(true);
    expect(sent).toBeGreaterThan(WINDOW / 2);
    expect(sent).toBeLessThanOrEqual(WINDOW + BYTES + ENTRY_BYTES);
    silent = false;
    const header = { epoch: lab.record!.epoch, incarnation: lifeOf(THIRD) };
    receive(THIRD, { type: 'appended', ...header, last: end as Sequence, durable: 0 as Sequence });
    const { sync: number, number: backfill } = lab.last('backfill')!;
    receive(THIRD, { type: 'backfilled', ...header, sync: number, number: backfill });
    await until(() => lab.swaps.length > 1);
    expect(confirmed).toBe(lab.store.last.sequence);
    await lab.apply();
    await sync.done;
    expect(lab.record!.inSync).toContain(THIRD);
    expect(lab.record!.inSync).toContain(SELF);
  });
});
