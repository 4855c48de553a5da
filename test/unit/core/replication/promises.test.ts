import { describe, expect, it } from 'vitest';
import type { PrimaryMessage } from '../../../../core/messages.js';
import type { Epoch, Incarnation, Sequence } from '../../../../core/types.js';
import { dataBatch } from '../../../sim/blocks.js';
import { Lab, NODE, OTHER, OTHER_LIFE, OTHER_NODE, promiseOf, SELF } from './lab.js';

const history = [{ epoch: 2 as Epoch, startsAfter: 0 as Sequence }];
const other = { deployment: OTHER, node: OTHER_NODE, incarnation: OTHER_LIFE };
const append = (lab: Lab, epoch: number, incarnation = lab.store.incarnation): PrimaryMessage => ({
  type: 'append',
  epoch: epoch as Epoch,
  incarnation,
  orderEpoch: epoch as Epoch,
  firstSequence: 1 as Sequence,
  batch: dataBatch(1, 3, 1, 16),
  durable: false,
});

describe('a promise that is on its way to the disk [I3]', () => {
  it('is not taken back by an older record that names this copy', async () => {
    const lab = await Lab.open();
    lab.observe({ ...lab.initial(), epoch: 5 as Epoch, primary: other, active: true, history });
    // Epoch 6 named this copy, but its watch lags; epoch 7 named the other one.
    lab.receive(promiseOf(7, history));
    const self = { deployment: SELF, node: NODE, incarnation: lab.store.incarnation };
    lab.observe({ ...lab.initial(), epoch: 6 as Epoch, primary: self, active: false, history });
    await lab.pass(80);
    expect(lab.deployment.status()).toMatchObject({ role: 'member', promised: 7 });
    expect(lab.store.state.promised).toBe(7);
    expect(lab.all('promised')).toMatchObject([{ epoch: 7 }]);
    lab.receive(append(lab, 7));
    await lab.pass(2);
    expect(lab.last('appended')).toMatchObject({ epoch: 7, last: 1 });
  });
});

describe('a message of an epoch that was never promised', () => {
  it('is answered, so that the primary asks for the promise', async () => {
    const lab = await Lab.open();
    lab.receive(promiseOf(2));
    await lab.pass(80);
    lab.receive(append(lab, 3));
    expect(lab.last('refused')).toMatchObject({ of: 'append', reason: 'not-promised' });
    expect(lab.all('appended')).toEqual([]);
    lab.receive(append(lab, 3, 'an earlier life' as Incarnation));
    expect(lab.last('refused')).toMatchObject({ reason: 'wrong-incarnation' });
    // While the promise is being made durable, its answer is on its way.
    const before = lab.all('refused').length;
    lab.receive(promiseOf(3));
    lab.receive(append(lab, 3));
    expect(lab.all('refused')).toHaveLength(before);
  });

  it('leads back to the greeting', async () => {
    const lab = await Lab.open();
    await lab.makePrimary();
    const before = lab.all('promise').length;
    const { epoch } = lab.last('lease')!;
    const header = { epoch, incarnation: OTHER_LIFE, last: lab.store.last };
    lab.receive({ type: 'refused', ...header, of: 'lease', reason: 'not-promised' });
    expect(lab.all('promise').slice(before)).toMatchObject([{ epoch }]);
  });
});
