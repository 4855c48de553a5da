import { expect, it } from 'vitest';
import { DomainError } from '../../../core/errors.js';
import { Turns } from '../../../node-agent/state/turns.js';

const pause = () => new Promise((resolve) => setImmediate(resolve));

it('lets one work at a time, in the order of the calls, whatever becomes of it', async () => {
  const turns = new Turns();
  const order: number[] = [];
  let running = 0;
  const outcomes = await Promise.allSettled(
    Array.from({ length: 20 }, (_, i) =>
      turns.run(async () => {
        expect(++running).toBe(1);
        await pause();
        running--;
        order.push(i);
        if (i % 3 === 0) throw new Error(`${i}`);
        return i;
      }),
    ),
  );
  expect(order).toEqual(Array.from({ length: 20 }, (_, i) => i));
  expect(outcomes.map(({ status }, i) => (status === 'rejected') === (i % 3 === 0))).not.toContain(false);
  expect(await turns.run(async () => 'again')).toBe('again');
});

it('tells all that wait when etcd does not answer, and goes on with who comes then', async () => {
  const turns = new Turns();
  let began = 0;
  const away = new DomainError('store-unavailable', 'etcd does not answer');
  const outcomes = Promise.allSettled(
    Array.from({ length: 10 }, () =>
      turns.run(async () => {
        began++;
        await pause();
        throw away;
      }),
    ),
  );
  for (const outcome of await outcomes) {
    expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'store-unavailable' } });
  }
  expect(began).toBe(1);
  expect(await turns.run(async () => 'again')).toBe('again');
});

it('refuses more than can wait', async () => {
  const turns = new Turns();
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const first = turns.run(() => released);
  const waiting = Array.from({ length: 4096 }, () => turns.run(async () => {}));
  await expect(turns.run(async () => {})).rejects.toMatchObject({ code: 'store-unavailable' });
  release();
  await Promise.all([first, ...waiting]);
});
