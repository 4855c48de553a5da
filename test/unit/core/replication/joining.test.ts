import { describe, expect, it } from 'vitest';
import { entryCount, KIND_GENERATION, readEntry } from '../../../../core/record.js';
import type { Generation, Sequence, SessionNumber } from '../../../../core/types.js';
import { ORDER_ZERO } from '../../../../core/types.js';
import { dataBatch } from '../../../sim/blocks.js';
import { Lab, OTHER, OTHER_LIFE, SELF } from './lab.js';

const session = 1 as SessionNumber;

/** A primary alone, with an open session, and the sync of another copy up to the issue of its swap. */
async function joining() {
  const lab = await Lab.open();
  lab.observe(lab.initial([SELF]));
  await lab.pass(80);
  await lab.apply();
  const frontend = lab.frontend();
  frontend.send({ type: 'open', session, generation: 7 as Generation });
  await lab.pass(300);
  const write = (request: number): void =>
    frontend.send({ type: 'write', session, request, fua: false, batch: dataBatch(request, 3, 1, 16) });
  write(1);
  const sync = lab.deployment.startSync(OTHER, () => {});
  const header = { epoch: lab.record!.epoch, incarnation: OTHER_LIFE };
  const begun = lab.last('sync-begin')!;
  lab.receive({ type: 'sync-ready', ...header, sync: begun.sync, base: ORDER_ZERO, dead: [] });
  // Whatever is asked is answered, until the swap is issued.
  let answered = 0;
  for (let turn = 0; turn < 400 && lab.swaps.length < 2; turn++) {
    for (const message of lab.sent.slice(answered)) {
      answered++;
      if (message.type === 'append') {
        const last = (message.firstSequence + entryCount(message.batch) - 1) as Sequence;
        lab.receive({ type: 'appended', ...header, last, durable: 0 as Sequence });
      } else if (message.type === 'backfill') {
        lab.receive({ type: 'backfilled', ...header, sync: begun.sync, number: message.number });
      } else if (message.type === 'flush') {
        lab.receive({ type: 'flushed', ...header, flush: message.flush, durable: lab.store.last.sequence });
      } else if (message.type === 'sync-finish') {
        lab.receive({ type: 'sync-finished', ...header, sync: begun.sync });
      } else if (message.type === 'lease') {
        lab.receive({ type: 'leased', ...header, lease: message.lease });
      }
    }
    await lab.pass(5);
  }
  const acknowledged = (request: number): boolean =>
    frontend.got.some(
      (message) => message.type === 'written' && message.request === request && message.status === 'ok',
    );

  return { lab, sync, write, acknowledged, header };
}

describe('a copy that joins', () => {
  it('is told the generation by the stream, wherever it was ordered before [R13]', async () => {
    const { lab } = await joining();
    const generations = lab
      .all('append')
      .map((message) => readEntry(message.batch.entries, 0))
      .filter((entry) => entry.kind === KIND_GENERATION)
      .map((entry) => entry.block);
    expect(generations).toEqual([7]);
  });

  it('counts as a member from the issue of its swap, whatever becomes of it [R7]', async () => {
    const { lab, sync, write, acknowledged, header } = await joining();
    expect(lab.swaps.at(-1)!.next.inSync).toEqual([SELF, OTHER]);
    expect(acknowledged(1)).toBe(true);
    write(2);
    await lab.pass(50);
    expect(acknowledged(2)).toBe(false);
    // Nobody knows whether it has landed; the record that is read is the old one.
    lab.swaps.at(-1)!.settle('unknown');
    await lab.pass(1_000);
    expect(acknowledged(2)).toBe(false);
    lab.receive({ type: 'appended', ...header, last: lab.store.last.sequence, durable: 0 as Sequence });
    lab.receive({ type: 'leased', ...header, lease: lab.last('lease')!.lease });
    expect(acknowledged(2)).toBe(true);
    await lab.apply();
    expect((await sync.done).target).toBe(OTHER);
    expect(lab.record!.inSync).toEqual([SELF, OTHER]);
  });
});
