/** How a sync that was interrupted goes on: marks at the target, and what the source does with them. */

import { describe, expect, it } from 'vitest';
import { type MemberMessage, type PrimaryMessage, VERSION_WITH_MENDING } from '../../../../core/messages.js';
import { entryCount, readEntry } from '../../../../core/record.js';
import type { BlockNumber, DeploymentId, Epoch, Generation, Order, Sequence } from '../../../../core/types.js';
import { ORDER_ZERO } from '../../../../core/types.js';
import { dataBatch } from '../../../sim/blocks.js';
import { lifeOf, primaryWithTargets, THIRD } from './copies.js';
import { Lab, OTHER, OTHER_LIFE, OTHER_NODE } from './lab.js';

const order = (epoch: number, sequence: number): Order => ({ epoch: epoch as Epoch, sequence: sequence as Sequence });

describe('the target of a sync', () => {
  const history = [{ epoch: 2 as Epoch, startsAfter: 0 as Sequence }];

  async function target(): Promise<Lab> {
    const lab = await Lab.open();
    const other = { deployment: OTHER, node: OTHER_NODE, incarnation: OTHER_LIFE };
    lab.observe({ ...lab.initial(), inSync: [OTHER], epoch: 5 as Epoch, primary: other, active: true, history });
    return lab;
  }

  const begin = (sync: number, streamAfter: Order, more = history): PrimaryMessage => ({
    type: 'sync-begin',
    epoch: 5 as Epoch,
    history: more,
    primaryIncarnation: OTHER_LIFE,
    etcdClusterId: 'e',
    sync,
    streamAfter,
    generation: 1 as Generation,
  });

  async function begun(lab: Lab, message: PrimaryMessage): Promise<void> {
    const before = lab.all('sync-ready').length;
    lab.receive(message);
    await lab.until(() => lab.all('sync-ready').length > before);
  }

  const header = (lab: Lab) => ({ epoch: 5 as Epoch, incarnation: lab.store.incarnation, sync: 1 });

  async function marked(lab: Lab, below: number): Promise<void> {
    await begun(lab, begin(1, order(2, 40)));
    lab.receive({
      ...header(lab),
      type: 'backfill',
      number: 1,
      orders: [order(2, 30)],
      batch: dataBatch(9, 3, 1, 16),
    });
    lab.receive({
      type: 'append',
      epoch: 5 as Epoch,
      incarnation: lab.store.incarnation,
      orderEpoch: 5 as Epoch,
      firstSequence: 41 as Sequence,
      batch: dataBatch(1, 4, 1, 16),
      durable: false,
    });
    const told = lab.all('sync-marked').length;
    lab.receive({ ...header(lab), type: 'sync-mark', below: below as BlockNumber });
    await lab.until(() => lab.all('sync-marked').length > told);
  }

  it('remembers a mark when all that came before it is durable [R6c]', async () => {
    const lab = await target();
    await marked(lab, 10);
    const regions = [{ below: 10, upTo: order(2, 40) }];
    expect(lab.all('sync-marked').at(-1)).toMatchObject({ sync: 1, regions });
    expect(lab.store.state).toMatchObject({ syncBase: order(0, 0), syncRegions: regions });
    expect(lab.store.durable).toBe(41);
  });

  it('answers no mark while its disk has not flushed', async () => {
    const lab = await target();
    let release: () => void = () => {};
    await begun(lab, begin(1, order(2, 40)));
    lab.store.flush = () =>
      new Promise((resolve) => {
        release = resolve;
      });
    lab.receive({ ...header(lab), type: 'sync-mark', below: 10 as BlockNumber });
    await lab.pass(200);
    expect(lab.all('sync-marked').map(({ regions }) => regions)).toEqual([[]]);
    expect(lab.store.state.syncRegions).toEqual([]);
    release();
    await lab.until(() => lab.store.state.syncRegions.length > 0);
    expect(lab.store.state.syncRegions).toHaveLength(1);
  });

  it('tells the next source what it has, as far as the stream of its primary shares it', async () => {
    const lab = await target();
    await marked(lab, 10);
    await begun(lab, begin(2, order(5, 41)));
    expect(lab.last('sync-marked')).toMatchObject({ sync: 2, regions: [{ below: 10, upTo: order(2, 40) }] });
    await begun(lab, begin(3, order(5, 41), [...history, { epoch: 4 as Epoch, startsAfter: 25 as Sequence }]));
    expect(lab.last('sync-marked')).toMatchObject({ sync: 3, regions: [{ below: 10, upTo: order(2, 25) }] });
    const types = lab.sent.map(({ type }) => type);
    expect(types.lastIndexOf('sync-marked')).toBeLessThan(types.lastIndexOf('sync-ready'));
  });

  it('forgets all marks with the base', async () => {
    const lab = await target();
    await marked(lab, 10);
    lab.receive({ ...header(lab), type: 'sync-finish', last: order(5, 41) });
    await lab.until(() => lab.all('sync-finished').length > 0);
    expect(lab.store.state).toMatchObject({ syncBase: null, syncRegions: [] });
  });

  it('refuses a sync while its node takes in others, and gives its place back at the end', async () => {
    const lab = await target();
    const log: string[] = [];
    let room = false;
    lab.admission = {
      admit: () => room,
      renew: () => log.push('renew'),
      release: () => log.push('release'),
    };
    lab.receive(begin(1, order(2, 40)));
    await lab.pass(80);
    expect(lab.all('refused')).toMatchObject([{ of: 'sync-begin', reason: 'busy' }]);
    expect(lab.store.state.syncBase).toBe(null);
    room = true;
    await marked(lab, 10);
    expect(log).toEqual(['renew', 'renew']);
    lab.receive({ ...header(lab), type: 'sync-finish', last: order(5, 41) });
    await lab.until(() => lab.all('sync-finished').length > 0);
    expect(log.at(-1)).toBe('release');
  });

  it('takes in every sync of a source that does not know the refusal', async () => {
    const lab = await target();
    lab.admission = { ...lab.admission, admit: () => false };
    lab.protocolVersion = VERSION_WITH_MENDING;
    await begun(lab, begin(1, order(2, 40)));
    expect(lab.last('sync-ready')).toMatchObject({ sync: 1 });
  });

  it('says nothing of marks to a source that does not know them', async () => {
    const lab = await target();
    lab.protocolVersion = VERSION_WITH_MENDING;
    await begun(lab, begin(1, order(2, 40)));
    expect(lab.last('sync-ready')).toMatchObject({ sync: 1 });
    expect(lab.all('sync-marked')).toEqual([]);
  });
});

describe('the source of a sync', () => {
  const settings = { backfillBlocks: 2, syncParallel: 3, syncMarkMs: 0 };

  /** A primary with 20 blocks, a target that says nothing to backfill, and what it was sent. */
  async function copying(mute: (type: string) => boolean = (type) => type === 'backfill') {
    const bench = await primaryWithTargets((to, message) => to === THIRD && mute(message.type), settings);
    const { lab, write, written, until } = bench;
    for (let block = 1; block <= 20; block++) write(block);
    await until(() => written(20));
    /** First block and number of each message; several are read at the same time, so that their order is chance. */
    const numbers = () =>
      new Map(lab.all('backfill').map(({ batch, number }) => [readEntry(batch.entries, 0).block, number]));
    const blocksOf = () =>
      lab
        .all('backfill')
        .map(({ batch }) => Array.from({ length: entryCount(batch) }, (_, i) => readEntry(batch.entries, i).block))
        .sort(([a = 0], [b = 0]) => a - b);
    const tell = (message: { type: string } & Record<string, unknown>, from: DeploymentId = THIRD): void =>
      bench.receive(from, {
        epoch: lab.record!.epoch,
        incarnation: lifeOf(from),
        sync: 1,
        ...message,
      } as unknown as MemberMessage);
    return { ...bench, numbers, blocksOf, tell };
  }

  it('has several pieces on their way, and marks only what is there without a gap', async () => {
    const { lab, until, numbers, blocksOf, tell } = await copying();
    const sync = lab.deployment.startSync(THIRD, () => {});
    await until(() => lab.all('backfill').length === 3);
    await lab.pass(500);
    expect(blocksOf()).toEqual([
      [1, 2],
      [3, 4],
      [5, 6],
    ]);
    tell({ type: 'backfilled', number: numbers().get(3) });
    await lab.pass(100);
    // The first one is still on its way.
    expect(lab.all('backfill')).toHaveLength(4);
    expect(lab.all('sync-mark')).toEqual([]);
    tell({ type: 'backfilled', number: numbers().get(1) });
    await until(() => lab.all('sync-mark').length > 0);
    expect(lab.last('sync-mark')).toMatchObject({ below: 5 });
    sync.cancel();
    await expect(sync.done).rejects.toMatchObject({ code: 'cancelled' });
    const sent = lab.sent.length;
    tell({ type: 'backfilled', number: numbers().get(5) });
    await lab.pass(20);
    expect(lab.sent.slice(sent).filter(({ type }) => type === 'backfill' || type === 'sync-mark')).toEqual([]);
  });

  it('marks a block that it passed over only when the target has it by the stream [R6c]', async () => {
    let silent = true;
    const { lab, until, write, tell } = await copying((type) => type === 'backfill' || (silent && type === 'append'));
    lab.deployment.startSync(THIRD, () => {}).done.catch(() => {});
    await until(() => lab.all('backfill').length === 3);
    // Changed since the sync began: not copied, it comes with the stream, which the target has not confirmed.
    write(7);
    await lab.pass(50);
    for (const number of [1, 2, 3]) tell({ type: 'backfilled', number });
    await lab.pass(1_000);
    expect(lab.all('sync-mark')).toEqual([]);
    silent = false;
    tell({ type: 'appended', last: lab.store.last.sequence, durable: 0 });
    await until(() => lab.all('sync-mark').length > 0);
    expect(lab.all('sync-mark')).toHaveLength(1);
  });

  it('goes on behind what the target has', async () => {
    const { lab, until, blocksOf, tell, write, written } = await copying(
      (type) => type === 'sync-begin' || type === 'backfill',
    );
    const { last } = lab.store;
    // Changed since the mark was made.
    write(2);
    await until(() => written(2));
    await lab.pass(20);
    lab.deployment.startSync(THIRD, () => {}).done.catch(() => {});
    await until(() => lab.all('sync-begin').length > 0);
    tell({ type: 'sync-marked', regions: [{ below: 17, upTo: last }] });
    tell({ type: 'sync-ready', base: ORDER_ZERO, dead: [] });
    await until(() => lab.all('backfill').length >= 3);
    await lab.pass(100);
    expect(blocksOf()).toEqual([[2], [17, 18], [19, 20]]);
  });

  it('tells a busy target from one that refuses for good', async () => {
    const { lab, until, tell } = await copying((type) => type === 'sync-begin');
    const sync = lab.deployment.startSync(THIRD, () => {});
    await until(() => lab.all('sync-begin').length > 0);
    tell({ type: 'refused', of: 'sync-begin', reason: 'busy', last: ORDER_ZERO });
    await expect(sync.done).rejects.toMatchObject({ code: 'target-busy' });
  });

  it('makes no marks where the target does not know them', async () => {
    const { lab, until } = await copying(() => false);
    lab.protocolVersion = VERSION_WITH_MENDING;
    lab.deployment.startSync(THIRD, () => {});
    await until(() => lab.swaps.length > 1);
    expect(lab.all('backfill').length).toBeGreaterThan(9);
    expect(lab.all('sync-mark')).toEqual([]);
  });
});
