import { describe, expect, it } from 'vitest';
import type { PrimaryMessage } from '../../../../core/messages.js';
import type { Epoch, Generation, Order, Sequence, SessionNumber } from '../../../../core/types.js';
import { dataBatch } from '../../../sim/blocks.js';
import { Lab, OTHER_LIFE, promiseOf, SELF } from './lab.js';

const session = 1 as SessionNumber;

function damaged() {
  const batch = dataBatch(9, 3, 1, 16);
  batch.payload[5]! ^= 0xff;
  return batch;
}

describe('a payload that does not match its checksum', () => {
  it('is not ordered by the primary: the writer gets an error, the volume goes on', async () => {
    const lab = await Lab.open();
    await lab.makePrimary();
    const { got, send } = await lab.session();
    const before = lab.store.last;
    send({ type: 'write', session, request: 1, fua: false, batch: damaged() });
    expect(got.at(-1)).toEqual({ type: 'written', request: 1, status: 'io-error' });
    expect(lab.store.last).toEqual(before);
    send({ type: 'write', session, request: 2, fua: false, batch: dataBatch(9, 3, 1, 16) });
    await lab.pass(1);
    lab.confirm();
    expect(got.at(-1)).toEqual({ type: 'written', request: 2, status: 'ok' });
  });

  it('is refused by a member as what it is', async () => {
    const lab = await Lab.open();
    lab.receive(promiseOf(2));
    await lab.pass(80);
    const append: PrimaryMessage = {
      type: 'append',
      epoch: 2 as Epoch,
      incarnation: lab.store.incarnation,
      orderEpoch: 2 as Epoch,
      firstSequence: 1 as Sequence,
      batch: damaged(),
      durable: false,
    };
    lab.receive(append);
    expect(lab.last('refused')).toMatchObject({ of: 'append', reason: 'bad-checksum' });
  });
});

describe.each(['bad-checksum', 'gap'] as const)(
  'a member that refuses the same entries as %s again and again',
  (reason) => {
    async function refusing(settled: (greetings: number) => boolean) {
      const lab = await Lab.open({ memberTimeoutMs: 2_000 });
      await lab.makePrimary();
      const { got, send } = await lab.session();
      const last: Order = lab.store.last;
      send({ type: 'write', session, request: 1, fua: false, batch: dataBatch(1, 3, 1, 16) });
      const before = lab.swaps.length;
      let greetings = 0;
      for (let passed = 0; passed < 4_000 && lab.swaps.length === before; passed++) {
        for (const message of lab.sent.splice(0)) {
          const header = { epoch: message.epoch, incarnation: OTHER_LIFE };
          if (message.type === 'promise') {
            greetings++;
            lab.receive({ type: 'promised', ...header, last, generation: 1 as Generation, unclean: false });
          } else if (message.type === 'lease') {
            lab.receive({ type: 'leased', ...header, lease: message.lease });
          } else if (message.type === 'append') {
            if (settled(greetings)) {
              const { sequence } = lab.store.last;
              lab.receive({ type: 'appended', ...header, last: sequence, durable: 0 as Sequence });
            } else {
              lab.receive({ type: 'refused', ...header, of: 'append', reason, last });
            }
          }
        }
        await lab.pass(1);
      }
      return { lab, got, greetings, removed: lab.swaps.length > before };
    }

    it('is removed after the time in which a member has to answer, and not greeted without a pause', async () => {
      const { lab, got, greetings, removed } = await refusing(() => false);
      expect(removed).toBe(true);
      expect(lab.swaps.at(-1)!.next).toMatchObject({ inSync: [SELF], outOfSync: [{ reason }] });
      expect(greetings).toBeLessThan(15);
      await lab.apply();
      expect(got.at(-1)).toEqual({ type: 'written', request: 1, status: 'ok' });
    });

    it('stays if they get there after all', async () => {
      const { got, removed } = await refusing((greetings) => greetings === 3);
      expect(removed).toBe(false);
      expect(got.at(-1)).toEqual({ type: 'written', request: 1, status: 'ok' });
    });
  },
);
