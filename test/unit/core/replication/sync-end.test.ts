import { describe, expect, it } from 'vitest';
import { entryCount, KIND_DATA, KIND_ZERO, readEntry } from '../../../../core/record.js';
import type { Epoch, Generation, Sequence } from '../../../../core/types.js';
import { ORDER_ZERO } from '../../../../core/types.js';
import { dataBatch } from '../../../sim/blocks.js';
import { FOURTH, lifeOf, primaryWithTargets, THIRD } from './copies.js';
import { Lab, OTHER, OTHER_LIFE, OTHER_NODE, promiseOf, SELF } from './lab.js';

const history = [{ epoch: 2 as Epoch, startsAfter: 0 as Sequence }];

describe('the end of a sync', () => {
  it('does not hold up writes for longer than its time, and comes when the target has flushed after all', async () => {
    let silent = true;
    const { lab, receive, write, written, until } = await primaryWithTargets(
      (to, message) => silent && to === THIRD && message.type === 'sync-finish',
    );
    const sync = lab.deployment.startSync(THIRD, () => {});
    await until(() => lab.last('sync-finish') !== undefined);
    write(50);
    expect(await until(() => written(50))).toBeLessThan(2_200);
    write(51);
    expect(await until(() => written(51))).toBeLessThan(100);
    silent = false;
    const { epoch, incarnation, sync: number } = lab.last('sync-finish')!;
    receive(THIRD, { type: 'sync-finished', epoch, incarnation, sync: number });
    await until(() => lab.swaps.length > 1);
    // Flushed again, behind what was written meanwhile [8].
    expect(lab.last('sync-finish')!.last).toEqual(lab.store.last);
    await lab.apply();
    await sync.done;
    expect(lab.record!.inSync).toEqual([SELF, OTHER, THIRD]);
  });

  it('comes soon after the last block, and not with a tick', async () => {
    const { lab, write, written, until } = await primaryWithTargets();
    write(1);
    await until(() => written(1));
    const sync = lab.deployment.startSync(THIRD, () => {});
    await until(() => lab.last('backfill') !== undefined);
    expect(await until(() => lab.swaps.length > 1)).toBeLessThan(60);
    await lab.apply();
    await sync.done;
  });

  it('is answered by the target though its primary has gone on to the next epoch', async () => {
    const lab = await Lab.open();
    const other = { deployment: OTHER, node: OTHER_NODE, incarnation: OTHER_LIFE };
    lab.observe({ ...lab.initial(), inSync: [OTHER], epoch: 5 as Epoch, primary: other, active: true, history });
    const epoch = 5 as Epoch;
    const { incarnation } = lab.store;
    lab.receive({
      type: 'sync-begin',
      epoch,
      history,
      primaryIncarnation: OTHER_LIFE,
      etcdClusterId: 'e',
      sync: 1,
      streamAfter: { epoch: 2 as Epoch, sequence: 0 as Sequence },
      generation: 0 as Generation,
    });
    await lab.pass(80);
    const last = { epoch, sequence: 1 as Sequence };
    lab.receive({
      type: 'append',
      epoch,
      incarnation,
      orderEpoch: epoch,
      firstSequence: last.sequence,
      batch: dataBatch(1, 3, 1, 16),
      durable: false,
    });
    lab.receive({ type: 'sync-finish', epoch, incarnation, sync: 1, last });
    lab.receive(promiseOf(6, history));
    await lab.pass(200);
    expect(lab.all('promised')).toMatchObject([{ epoch: 6 }]);
    expect(lab.all('sync-finished')).toMatchObject([{ sync: 1 }]);
    expect(lab.store.state.syncBase).toBe(null);
    expect(lab.store.durable).toBe(1);
  });
});

describe('two syncs', () => {
  it('end one after the other', async () => {
    const { lab, until, write, written } = await primaryWithTargets();
    const targets = [THIRD, FOURTH].map((target) => lab.deployment.startSync(target, () => {}));
    let request = 100;
    for (let i = 1; i <= 2; i++) {
      await until(() => {
        write(request++);
        return lab.swaps.length > i;
      });
      await lab.apply();
    }
    await Promise.all(targets.map((sync) => sync.done));
    expect(await until(() => written(request - 1))).toBeLessThan(100);
    expect(lab.errors).toEqual([]);
    expect(new Set(lab.record!.inSync)).toEqual(new Set([SELF, OTHER, THIRD, FOURTH]));
  });
});

describe('a target without space', () => {
  it('is sent the zeroes first when it is synced again: they give it some', async () => {
    let full = true;
    const { lab, receive, write, trim, written, until } = await primaryWithTargets(
      (to, message) => full && to === THIRD && message.type === 'backfill',
    );
    for (const block of [1, 2, 50, 51]) write(block);
    await lab.pass(50);
    trim(60, 50);
    await until(() => written(60));
    const kinds = () =>
      lab.all('backfill').map(({ batch }) => {
        return Array.from({ length: entryCount(batch) }, (_, i) => readEntry(batch.entries, i).kind);
      });
    const refused = lab.deployment.startSync(THIRD, () => {}).done;
    await until(() => lab.last('backfill') !== undefined);
    expect(kinds()).toEqual([[KIND_DATA, KIND_DATA, KIND_ZERO, KIND_DATA]]);
    const header = { epoch: lab.last('backfill')!.epoch, incarnation: lifeOf(THIRD) };
    receive(THIRD, { type: 'refused', ...header, of: 'backfill', reason: 'no-space', last: ORDER_ZERO });
    await expect(refused).rejects.toMatchObject({ code: 'target-refused', message: expect.stringMatching(/no-space/) });

    full = false;
    const again = lab.deployment.startSync(THIRD, () => {});
    await until(() => lab.swaps.length > 1);
    expect(kinds().slice(1)).toEqual([[KIND_ZERO], [KIND_DATA, KIND_DATA, KIND_ZERO, KIND_DATA]]);
    await lab.apply();
    expect(await again.done).toMatchObject({ blocksTotal: 4, blocksDone: 4 });
  });
});

describe('what is left of an earlier sync', () => {
  const late = (lab: Lab) => ({ epoch: lab.record!.epoch, incarnation: lifeOf(THIRD) });

  it('does not end a new one: a late refusal', async () => {
    const { lab, receive, until } = await primaryWithTargets((_, message) => message.type === 'sync-begin');
    const sync = lab.deployment.startSync(THIRD, () => {});
    await lab.pass(10);
    receive(THIRD, { type: 'refused', ...late(lab), of: 'backfill', reason: 'no-sync', last: ORDER_ZERO });
    await lab.pass(10);
    const begin = lab.last('sync-begin')!;
    receive(THIRD, { type: 'sync-ready', ...late(lab), sync: begin.sync, base: ORDER_ZERO, dead: [] });
    await until(() => lab.swaps.length > 1);
    await lab.apply();
    await sync.done;
  });

  it('is not taken for an answer: a late confirmation of another term with the same number', async () => {
    const { lab, receive, until } = await primaryWithTargets((_, message) => message.type === 'sync-begin');
    const sync = lab.deployment.startSync(THIRD, () => {});
    await lab.pass(10);
    const begin = lab.last('sync-begin')!;
    const older = (begin.epoch - 1) as Epoch;
    receive(THIRD, {
      type: 'sync-ready',
      ...late(lab),
      epoch: older,
      sync: begin.sync,
      base: lab.store.last,
      dead: [],
    });
    await lab.pass(50);
    expect(lab.all('sync-finish')).toEqual([]);
    receive(THIRD, { type: 'sync-ready', ...late(lab), sync: begin.sync, base: ORDER_ZERO, dead: [] });
    await until(() => lab.swaps.length > 1);
    await lab.apply();
    expect((await sync.done).kind).toBe('full');
  });
});

describe('a primary that is deposed while a sync goes on', () => {
  // Between a timer of the sync and what it leads to lie a few turns; one of them comes right before the order.
  it.each([0, 1, 2, 3, 4, 5, 6, 7, 8])('orders nothing any more, %i turns after the sync had waited', async (turns) => {
    const { lab, receive } = await primaryWithTargets((_, message) => message.type === 'sync-begin');
    lab.deployment.startSync(THIRD, () => {}).done.catch(() => {});
    const removed = lab.deployment.removeMember(OTHER, 'surplus');
    removed.catch(() => {});
    await lab.pass(150);
    const { epoch } = lab.last('sync-begin')!;
    const header = { epoch, incarnation: lifeOf(THIRD) };
    const swap = lab.swaps.at(-1)!;
    lab.record = swap.next;
    lab.deployment.onMembership(swap.next);
    // Its own promise of the new epoch is on its way to the disk: the sync waits.
    let end = lab.store.last;
    const { clock } = lab.deployment;
    const after = clock.after.bind(clock);
    clock.after = (ms, run) => {
      clock.after = after;
      return after(ms, async () => {
        run();
        for (let i = 0; i < turns; i++) await undefined;
        end = lab.store.last;
        const higher = (epoch + 5) as Epoch;
        receive(THIRD, { type: 'refused', ...header, epoch: higher, of: 'append', reason: 'stale-epoch', last: end });
      });
    };
    receive(THIRD, { type: 'sync-ready', ...header, sync: 1, base: ORDER_ZERO, dead: [] });
    await lab.pass(500);
    expect(lab.deployment.status().role).toBe('member');
    expect(lab.store.last).toEqual(end);
    expect(lab.errors).toEqual([]);
  });
});
