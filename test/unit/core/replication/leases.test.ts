/** Payloads in leased memory: held by the primary as long as it needs them, and not a moment longer. */

import { describe, expect, it } from 'vitest';
import { DiskError } from '../../../../core/ports.js';
import type { Batch } from '../../../../core/record.js';
import type { BlockNumber, DeploymentId, Epoch, Generation, Sequence, SessionNumber } from '../../../../core/types.js';
import { StoreClosedError } from '../../../../node-agent/store/errors.js';
import { dataBatch, verify } from '../../../sim/blocks.js';
import { primaryWithTargets, THIRD } from './copies.js';
import { Lab, OTHER, OTHER_LIFE, OTHER_NODE, promiseOf } from './lab.js';

const session = 1 as SessionNumber;

async function primary(settings: Parameters<typeof Lab.open>[0] = {}) {
  const lab = await Lab.open(settings);
  await lab.makePrimary();
  const frontend = await lab.session();
  const write = (request: number, bytes = 16): { readonly batch: Batch; readonly leave: () => void } => {
    const lent = lab.leases.lend(dataBatch(request, request, 1, bytes), lab.process);
    frontend.send({ type: 'write', session, request, fua: false, batch: lent.batch });
    return lent;
  };
  return { lab, frontend, write };
}

/** Of a block, as its log has it. */
async function payloadOf(lab: Lab, block: number): Promise<Buffer> {
  let read: Batch | undefined;
  void lab.store.read(block as BlockNumber, 1).then(({ batch }) => {
    read = batch;
  });
  await lab.until(() => read !== undefined);
  return read!.payload;
}

describe('a write', () => {
  it('is held from its arrival until all members have it', async () => {
    const { lab, write } = await primary();
    const { leave } = write(1);
    leave();
    await lab.pass(5);
    expect(lab.leases.held).toBe(1);
    lab.confirm();
    await lab.pass(5);
    expect(lab.leases.held).toBe(0);
  });

  it('that its frontend gave up is intact when a member gets it later', async () => {
    const { lab, write } = await primary({ memberGraceMs: 60_000, memberTimeoutMs: 60_000 });
    lab.linkUp = false;
    lab.deployment.onPeerDown(OTHER_NODE);
    const { leave } = write(1);
    await lab.pass(5);
    leave();
    lab.linkUp = true;
    const before = lab.all('append').length;
    lab.deployment.onPeerUp(OTHER_NODE);
    lab.promise({ epoch: lab.record!.epoch, sequence: (lab.store.last.sequence - 1) as Sequence });
    await lab.pass(5);
    const appends = lab.all('append').slice(before);
    expect(appends.length).toBe(1);
    expect(verify(appends[0]!.batch)).toBe(true);
    lab.grantLease();
    lab.confirm();
    await lab.pass(5);
    expect(lab.leases.held).toBe(0);
  });

  it('that waits for its turn is given back with its session', async () => {
    const { lab, frontend, write } = await primary({ maxInFlightWrites: 1 });
    for (const request of [1, 2, 3]) write(request).leave();
    await lab.pass(5);
    expect(lab.leases.held).toBe(3);
    Object.assign(frontend.link, { closed: true });
    lab.deployment.onSessionClosed(frontend.link);
    lab.confirm();
    await lab.pass(5);
    lab.confirm();
    await lab.pass(5);
    expect(lab.leases.held).toBe(0);
  });

  it('is given back when the primary is deposed, ordered or not', async () => {
    const { lab, write } = await primary({ maxInFlightWrites: 1 });
    for (const request of [1, 2, 3]) write(request).leave();
    await lab.pass(5);
    expect(lab.leases.held).toBe(3);
    const record = lab.record!;
    lab.observe({
      ...record,
      epoch: (record.epoch + 1) as Epoch,
      primary: { deployment: OTHER, node: OTHER_NODE, incarnation: OTHER_LIFE },
    });
    expect(lab.leases.held).toBe(0);
  });

  it.each(['invalid', 'io-error'] as const)('that is refused (%s) is not held', async (status) => {
    const { lab, frontend } = await primary();
    const batch = dataBatch(1, status === 'invalid' ? 1_000 : 1, 1, 16);
    if (status === 'io-error') batch.payload[5]! ^= 1;
    const { batch: lent, leave } = lab.leases.lend(batch, lab.process);
    frontend.send({ type: 'write', session, request: 1, fua: false, batch: lent });
    await lab.pass(5);
    expect(frontend.got.at(-1)).toMatchObject({ type: 'written', status });
    leave();
    expect(lab.leases.held).toBe(0);
  });
});

describe('a read', () => {
  const read = (request: number) => ({ type: 'read', session, request, block: 1 as BlockNumber, blocks: 1 }) as const;

  it('is held until it was sent', async () => {
    const { lab, frontend, write } = await primary();
    write(1).leave();
    await lab.pass(5);
    lab.confirm();
    await lab.pass(5);
    let intact = false;
    frontend.link.send = (message) => {
      if (message.type === 'data') intact = verify(message.batch);
    };
    frontend.send(read(2));
    await lab.pass(20);
    expect(intact).toBe(true);
    expect(lab.leases.held).toBe(0);
  });

  it('that waits for a confirmation is held, and given back when the primary is deposed', async () => {
    const { lab, frontend, write } = await primary();
    write(1).leave();
    await lab.pass(5);
    // Of a write that the member has not confirmed.
    frontend.send(read(2));
    await lab.pass(20);
    expect(lab.leases.held).toBe(2);
    const record = lab.record!;
    lab.observe({
      ...record,
      epoch: (record.epoch + 1) as Epoch,
      primary: { deployment: OTHER, node: OTHER_NODE, incarnation: OTHER_LIFE },
    });
    expect(lab.leases.held).toBe(0);
  });
});

describe('what a sync sends', () => {
  const syncing = async () => {
    const bench = await primaryWithTargets();
    const { lab, write, written, until } = bench;
    for (const request of [3, 4, 5]) write(request);
    await until(() => [3, 4, 5].every(written));
    expect(lab.leases.held).toBe(0);
    const { links } = lab.deployment;
    const send = links.send.bind(links);
    const intact: boolean[] = [];
    links.send = (to, message) => {
      if (message.type === 'backfill') intact.push(message.batch.lease !== undefined && verify(message.batch));
      send(to, message);
    };
    return { ...bench, intact };
  };

  it('is held until it was sent', async () => {
    const { lab, until, intact } = await syncing();
    const sync = lab.deployment.startSync(THIRD, () => {});
    await until(() => lab.swaps.length > 1);
    await lab.apply();
    await sync.done;
    expect(intact).toContain(true);
    expect(intact).not.toContain(false);
    expect(lab.leases.held).toBe(0);
  });

  it('is given back when the sync ends while it is read', async () => {
    const { lab, until, intact } = await syncing();
    const { store } = lab;
    const readBlocks = store.readBlocks.bind(store);
    let read = false;
    let goOn = (): void => {};
    const later = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    store.readBlocks = async (...asked) => {
      const found = await readBlocks(...asked);
      read = true;
      await later;
      return found;
    };
    const sync = lab.deployment.startSync(THIRD, () => {});
    const ended = expect(sync.done).rejects.toThrow();
    await until(() => read);
    expect(lab.leases.held).toBe(1);
    sync.cancel();
    await ended;
    goOn();
    await lab.pass(10);
    expect(intact).toEqual([]);
    expect(lab.leases.held).toBe(0);
  });
});

describe('what a target receives', () => {
  it('is held until its log has it', async () => {
    const lab = await Lab.open();
    const epoch = 5 as Epoch;
    const order = { epoch: 2 as Epoch, sequence: 30 as Sequence };
    const history = [{ epoch: order.epoch, startsAfter: 0 as Sequence }];
    const other = { deployment: OTHER, node: OTHER_NODE, incarnation: OTHER_LIFE };
    lab.observe({ ...lab.initial(), inSync: [OTHER], epoch, primary: other, active: true, history });
    lab.receive({
      type: 'sync-begin',
      epoch,
      history,
      primaryIncarnation: OTHER_LIFE,
      etcdClusterId: 'e',
      sync: 1,
      streamAfter: { ...order, sequence: 40 as Sequence },
      generation: 0 as Generation,
    });
    await lab.until(() => lab.last('sync-ready') !== undefined);

    // The index has to be read from the disk.
    const { store } = lab;
    const look = store.look.bind(store);
    let goOn = (): void => {};
    const later = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    store.look = async (...question) => {
      await later;
      return look(...question);
    };
    const { batch, leave } = lab.leases.lend(dataBatch(9, 3, 1, 16), lab.process);
    const { incarnation } = store;
    lab.receive({ type: 'backfill', epoch, incarnation, sync: 1, number: 1, orders: [order], batch });
    leave();
    await lab.pass(20);
    expect(lab.leases.held).toBe(1);
    goOn();
    await lab.until(() => lab.last('backfilled') !== undefined);
    expect(lab.leases.held).toBe(0);
    expect(await payloadOf(lab, 3)).toEqual(dataBatch(9, 3, 1, 16).payload);
  });
});

describe('what a member receives', () => {
  it.each(['there is', 'has to be made'])('is held until its log has it (room %s)', async (room) => {
    const lab = await Lab.open();
    lab.receive(promiseOf(2));
    await lab.until(() => lab.last('promised') !== undefined);
    const { store } = lab;
    let roomIsMade = (): void => {};
    if (room === 'has to be made') {
      const hasRoom = store.hasRoom.bind(store);
      store.hasRoom = () => false;
      store.makeRoom = () =>
        new Promise((resolve) => {
          roomIsMade = () => {
            store.hasRoom = hasRoom;
            resolve();
          };
        });
    }
    const { batch, leave } = lab.leases.lend(dataBatch(1, 3, 1, 16), lab.process);
    const epoch = 2 as Epoch;
    const place = { orderEpoch: epoch, firstSequence: 1 as Sequence };
    lab.receive({ type: 'append', epoch, incarnation: store.incarnation, ...place, batch, durable: false });
    leave();
    expect(lab.leases.held).toBe(1);
    roomIsMade();
    await lab.until(() => lab.last('appended') !== undefined);
    expect(lab.leases.held).toBe(0);
    expect(await payloadOf(lab, 3)).toEqual(dataBatch(1, 3, 1, 16).payload);
  });

  it.each([
    ['the store is closed', new StoreClosedError('s' as DeploymentId)],
    ['its disk fails', new DiskError('io', 'data', 'as told')],
  ])('is given back when it waits for room and %s', async (_, error) => {
    const lab = await Lab.open();
    lab.receive(promiseOf(2));
    await lab.until(() => lab.last('promised') !== undefined);
    const { store } = lab;
    let fail = (_error: Error): void => {};
    store.hasRoom = () => false;
    store.makeRoom = () =>
      new Promise((_resolve, reject) => {
        fail = reject;
      });
    const epoch = 2 as Epoch;
    for (const n of [1, 2, 3]) {
      const { batch, leave } = lab.leases.lend(dataBatch(n, n, 1, 16), lab.process);
      const place = { orderEpoch: epoch, firstSequence: n as Sequence };
      lab.receive({ type: 'append', epoch, incarnation: store.incarnation, ...place, batch, durable: false });
      leave();
    }
    expect(lab.leases.held).toBe(3);
    fail(error);
    await lab.pass(50);
    expect(lab.leases.held).toBe(0);
  });
});
