import { describe, expect, it } from 'vitest';
import type { SessionMessage } from '../../../../core/messages.js';
import { BadBlockError } from '../../../../core/ports.js';
import { ENTRY_BYTES, entryCount, KIND_DATA, KIND_ZERO, readEntry } from '../../../../core/record.js';
import type { ReplicationError } from '../../../../core/replication/context.js';
import type {
  BlockNumber,
  Epoch,
  Generation,
  Incarnation,
  Order,
  Sequence,
  SessionNumber,
} from '../../../../core/types.js';
import { dataBatch, writesOf, zeroBatch } from '../../../sim/blocks.js';
import { Lab, OTHER, OTHER_LIFE, OTHER_NODE, SELF } from './lab.js';

const session = 1 as SessionNumber;
const write = (request: number, block = 3, fua = false) =>
  ({ type: 'write', session, request, fua, batch: dataBatch(request, block, 1, 16) }) as const;
const read = (request: number, block = 3) =>
  ({ type: 'read', session, request, block: block as BlockNumber, blocks: 1 }) as const;
const answers = (got: SessionMessage[]) => got.filter((message) => message.type !== 'opened');

describe('a new primary', () => {
  it('names nobody out of sync before they could answer, then activates with its real end [R1]', async () => {
    const lab = await Lab.open();
    lab.observe(lab.initial());
    await lab.pass(80);
    expect(lab.last('promise')).toMatchObject({ epoch: 1, primaryIncarnation: lab.store.incarnation });
    expect(lab.swaps).toEqual([]);
    lab.promise();
    await lab.pass(80);
    expect(lab.swaps).toHaveLength(1);
    expect(lab.swaps[0]!.next).toMatchObject({ epoch: 2, active: true, inSync: [SELF, OTHER] });
    expect(lab.swaps[0]!.next.history).toEqual([{ epoch: 2, startsAfter: 0 }]);
    expect(lab.deployment.status()).toMatchObject({ role: 'opening', serving: false });
  });

  it('leaves a silent member out after its time, and waits out the leases of an earlier life [R16]', async () => {
    const lab = await Lab.open({ openTimeoutMs: 300, leaseMs: 2_000 });
    const first = lab.initial();
    lab.observe({ ...first, epoch: 4 as Epoch });
    await lab.pass(1_500);
    expect(lab.swaps).toEqual([]);
    await lab.pass(700);
    expect(lab.swaps.at(-1)!.next.inSync).toEqual([SELF]);
  });

  it.each([
    ['longer', { epoch: 1 as Epoch, sequence: 9 as Sequence }, false],
    ['unclean', { epoch: 0 as Epoch, sequence: 0 as Sequence }, true],
  ])('leaves a %s member out [R15] [R17]', async (_, last, unclean) => {
    const lab = await Lab.open();
    lab.observe(lab.initial());
    await lab.pass(80);
    const promised = {
      type: 'promised',
      epoch: 1 as Epoch,
      incarnation: OTHER_LIFE,
      last,
      generation: 0 as Generation,
    } as const;
    lab.receive({ ...promised, unclean });
    await lab.pass(80);
    expect(lab.swaps.at(-1)!.next.inSync).toEqual([SELF]);
  });

  it('does not go on without a member that belongs to another etcd cluster', async () => {
    const lab = await Lab.open({ openTimeoutMs: 100 });
    lab.observe(lab.initial());
    await lab.pass(80);
    lab.receive({
      type: 'refused',
      epoch: 1 as Epoch,
      incarnation: OTHER_LIFE,
      of: 'promise',
      reason: 'wrong-cluster',
      last: lab.store.last,
    });
    await lab.pass(10_000);
    expect(lab.swaps).toEqual([]);
    expect(lab.deployment.status()).toMatchObject({ role: 'opening', serving: false });
  });

  it('does not open under another incarnation than the one that is named [R2]', async () => {
    const lab = await Lab.open();
    const record = lab.initial();
    lab.observe({ ...record, primary: { ...record.primary, incarnation: 'an earlier life' as Incarnation } });
    await lab.pass(5_000);
    expect(lab.deployment.status().role).toBe('member');
    expect(lab.all('promise')).toEqual([]);
  });

  it('serves nothing before it holds the leases of its own epoch', async () => {
    const lab = await Lab.open();
    lab.observe(lab.initial());
    await lab.pass(80);
    lab.promise();
    await lab.pass(80);
    await lab.apply();
    expect(lab.deployment.status().serving).toBe(false);
    lab.promise();
    await lab.pass(40);
    expect(lab.deployment.status()).toMatchObject({ role: 'primary', serving: false });
    lab.grantLease();
    expect(lab.deployment.status().serving).toBe(true);
    await lab.pass(2_100);
    expect(lab.deployment.status().serving).toBe(false);
  });
});

describe('writes and reads', () => {
  it('has the generation durable on every member before the session opens [R13]', async () => {
    const lab = await Lab.open();
    await lab.makePrimary();
    const { got, send } = lab.frontend();
    send({ type: 'open', session, generation: 5 as Generation });
    await lab.pass(2);
    expect(got).toEqual([]);
    expect(lab.store.generation).toBe(5);
    lab.confirm();
    await lab.pass(20);
    expect(got).toEqual([]);
    lab.confirm(undefined, lab.store.last.sequence);
    expect(lab.store.durable).toBe(lab.store.last.sequence);
    expect(got).toMatchObject([{ type: 'opened', session }]);
    const older = lab.frontend();
    older.send({ type: 'open', session: 9 as SessionNumber, generation: 4 as Generation });
    expect(older.got).toMatchObject([{ type: 'rejected', reason: 'fenced' }]);
  });

  it('acknowledges a write when the member has it, and not before [I1]', async () => {
    const lab = await Lab.open();
    await lab.makePrimary();
    const { got, send } = await lab.session();
    send(write(1));
    await lab.pass(80);
    expect(answers(got)).toEqual([]);
    lab.confirm();
    expect(answers(got)).toEqual([{ type: 'written', request: 1, status: 'ok' }]);
  });

  it('does not show what is not committed [R12]', async () => {
    const lab = await Lab.open();
    await lab.makePrimary();
    const { got, send } = await lab.session();
    send(write(1));
    await lab.pass(1);
    send(read(2));
    send(read(3, 7));
    await lab.pass(80);
    // The other block is not concerned.
    expect(answers(got)).toMatchObject([{ type: 'data', request: 3, status: 'ok' }]);
    lab.confirm();
    const shown = answers(got).find((message) => message.type === 'data' && message.request === 2);
    expect(shown?.type === 'data' && writesOf(shown.batch)).toEqual([1]);
  });

  it('does not answer reads without its leases', async () => {
    const lab = await Lab.open({ memberTimeoutMs: 60_000 });
    await lab.makePrimary();
    const { got, send } = await lab.session();
    await lab.pass(2_100);
    send(read(1));
    await lab.pass(80);
    expect(answers(got)).toEqual([]);
    lab.grantLease();
    expect(answers(got)).toMatchObject([{ type: 'data', request: 1, status: 'ok' }]);
  });

  it('acknowledges FUA and FLUSH when they are on both disks', async () => {
    const lab = await Lab.open();
    await lab.makePrimary();
    const { got, send } = await lab.session();
    send(write(1, 3, true));
    await lab.pass(80);
    expect(lab.last('append')).toMatchObject({ durable: true });
    lab.confirm(undefined, 0);
    expect(answers(got)).toEqual([]);
    lab.confirm(undefined, lab.store.last.sequence);
    await lab.pass(80);
    const asked = lab.last('flush');
    if (asked !== undefined) {
      lab.receive({
        type: 'flushed',
        epoch: asked.epoch,
        incarnation: OTHER_LIFE,
        flush: asked.flush,
        durable: lab.store.last.sequence,
      });
    }
    expect(answers(got)).toEqual([{ type: 'written', request: 1, status: 'ok' }]);
  });

  it('gives trims of blocks that were never written no order', async () => {
    const lab = await Lab.open();
    await lab.makePrimary();
    const { got, send } = await lab.session();
    const before = lab.store.last.sequence;
    send({ type: 'write', session, request: 1, fua: false, batch: zeroBatch(0, 64) });
    await lab.pass(10);
    expect(lab.store.last.sequence).toBe(before);
    expect(answers(got)).toEqual([{ type: 'written', request: 1, status: 'ok' }]);
    send(write(2));
    lab.confirm();
    send({ type: 'write', session, request: 3, fua: false, batch: zeroBatch(0, 64) });
    await lab.pass(10);
    expect(lab.store.last.sequence).toBe(before + 2);
  });

  it('gives an order to those blocks of a trim that were written', async () => {
    const lab = await Lab.open();
    await lab.makePrimary();
    const { send } = await lab.session();
    for (const block of [3, 4, 5, 40, 63]) send(write(block, block));
    await lab.pass(1);
    lab.confirm();
    send({ type: 'write', session, request: 70, fua: false, batch: zeroBatch(1, 60) });
    await lab.pass(10);
    const { entries } = lab.last('append')!.batch;
    const ranges = Array.from({ length: entries.length / ENTRY_BYTES }, (_, i) => readEntry(entries, i));
    expect(ranges.map(({ kind, block, blocks }) => [kind, block, blocks])).toEqual([
      [KIND_ZERO, 3, 3],
      [KIND_ZERO, 40, 1],
    ]);
    expect((await lab.lookUp(4))?.kind).toBe(KIND_ZERO);
    expect(await lab.lookUp(2)).toBeUndefined();
    expect((await lab.lookUp(63))?.kind).toBe(KIND_DATA);
  });

  it('orders what follows a trim behind it, though the index is asked about the trim first', async () => {
    const lab = await Lab.open();
    await lab.makePrimary();
    const { send } = await lab.session();
    const before = lab.store.last.sequence;
    for (const request of [1, 3, 5]) {
      send({ type: 'write', session, request, fua: false, batch: zeroBatch(3, 1) });
      send(write(request + 1));
    }
    expect(lab.store.last.sequence).toBe(before);
    await lab.pass(20);
    // The first trim changes nothing; the others cover what was written right before them.
    expect(lab.store.last.sequence).toBe(before + 5);
    expect((await lab.lookUp(3))?.kind).toBe(KIND_DATA);
  });

  it.each([
    ['beyond the end', dataBatch(1, 64, 1, 16)],
    ['a generation', { entries: Buffer.from([...Buffer.alloc(12), 3, ...Buffer.alloc(19)]), payload: Buffer.alloc(0) }],
    ['no entries', { entries: Buffer.alloc(0), payload: Buffer.alloc(0) }],
  ])('refuses a batch with %s', async (_, batch) => {
    const lab = await Lab.open();
    await lab.makePrimary();
    const { got, send } = await lab.session();
    send({ type: 'write', session, request: 1, fua: false, batch });
    expect(answers(got)).toEqual([{ type: 'written', request: 1, status: 'invalid' }]);
    send({ type: 'read', session, request: 2, block: 60 as BlockNumber, blocks: 5 });
    expect(answers(got).at(-1)).toMatchObject({ type: 'data', request: 2, status: 'invalid' });
  });

  it('tells the writer that the disk is full, and goes on when there is room', async () => {
    const lab = await Lab.open();
    await lab.makePrimary();
    const { got, send } = await lab.session();
    lab.disk.setFull(true);
    // The store looks how much is free once a second.
    await lab.pass(1_100);
    for (let request = 1; request <= 40; request++) {
      send({ type: 'write', session, request, fua: false, batch: dataBatch(request, 0, 20, 3_000) });
    }
    await lab.pass(50);
    expect(answers(got)).toContainEqual({ type: 'written', request: 40, status: 'no-space' });
    lab.disk.setFull(false);
    send(write(41));
    await lab.pass(5);
    lab.confirm();
    expect(answers(got)).toContainEqual({ type: 'written', request: 41, status: 'ok' });
  });

  it('takes no confirmation that was given under an earlier epoch', async () => {
    const lab = await Lab.open();
    await lab.makePrimary();
    const { got, send } = await lab.session();
    send(write(1));
    await lab.pass(1);
    const confirmation = { type: 'appended', incarnation: OTHER_LIFE, last: lab.store.last.sequence } as const;
    const { epoch } = lab.last('append')!;
    lab.receive({ ...confirmation, epoch: (epoch - 1) as Epoch, durable: confirmation.last });
    expect(answers(got)).toEqual([]);
    lab.receive({ ...confirmation, epoch, durable: 0 as Sequence });
    expect(answers(got)).toEqual([{ type: 'written', request: 1, status: 'ok' }]);
  });

  it('orders payload as slowly as a store asks for that is short of space', async () => {
    const lab = await Lab.open();
    await lab.makePrimary();
    const { got, send } = await lab.session();
    const before = lab.store.last.sequence;
    let delayMs = 300;
    Object.defineProperty(lab.store, 'appendDelayMs', { get: () => delayMs });
    for (const request of [1, 2]) send(write(request, request));
    await lab.pass(250);
    expect(lab.store.last.sequence).toBe(before);
    delayMs = 0;
    await lab.pass(100);
    expect(lab.store.last.sequence).toBe(before + 2);
    lab.confirm();
    expect(answers(got)).toHaveLength(2);
    // What frees space does not wait.
    delayMs = 300;
    send({ type: 'write', session, request: 3, fua: false, batch: zeroBatch(1, 2) });
    await lab.pass(50);
    expect(lab.store.last.sequence).toBe(before + 3);
  });

  it('keeps what is in flight and what waits within bounds', async () => {
    const lab = await Lab.open({ maxInFlightWrites: 2, maxQueuedWrites: 3 });
    await lab.makePrimary();
    const { got, send } = await lab.session();
    const before = lab.store.last.sequence;
    for (const request of [1, 2]) send(write(request, request));
    await lab.pass(1);
    for (const request of [3, 4, 5, 6]) send(write(request, request));
    await lab.pass(1);
    expect(lab.store.last.sequence).toBe(before + 2);
    expect(answers(got)).toEqual([{ type: 'written', request: 6, status: 'invalid' }]);
    lab.confirm();
    expect(lab.store.last.sequence).toBe(before + 4);
  });

  it('orders small writes that come together as one batch, each answered by itself', async () => {
    const lab = await Lab.open();
    await lab.makePrimary();
    const { got, send } = await lab.session();
    const sent = lab.all('append').length;
    const large = dataBatch(4, 20, 12, 3_000);
    for (const request of [1, 2, 3]) send(write(request, request));
    send({ type: 'write', session, request: 4, fua: false, batch: large });
    send({ ...write(5, 5), fua: true });
    send(write(6, 6));
    // The last one may wait for a disk that is behind.
    await lab.pass(30);
    const appends = lab.all('append').slice(sent);
    expect(appends.map(({ batch, durable }) => [entryCount(batch), durable])).toEqual([
      [3, false],
      [12, false],
      [1, true],
      [1, false],
    ]);
    expect(appends.flatMap(({ batch }) => writesOf(batch)).slice(0, 3)).toEqual([1, 2, 3]);
    lab.confirm();
    // The fifth waits for the disks.
    expect(answers(got).map((message) => 'request' in message && message.request)).toEqual([1, 2, 3, 4, 6]);
  });

  it('counts its own copy when that outlives the process, like a member’s', async () => {
    const lab = await Lab.open();
    await lab.makePrimary();
    const { got, send } = await lab.session();
    let written = (): void => {};
    lab.store.written = () =>
      new Promise((resolve) => {
        written = resolve;
      });
    send(write(1));
    await lab.pass(1);
    lab.confirm();
    await lab.pass(1);
    expect(answers(got)).toEqual([]);
    written();
    await lab.pass(1);
    expect(answers(got)).toEqual([{ type: 'written', request: 1, status: 'ok' }]);
  });

  it('orders as much of what came together as there is room for', async () => {
    const lab = await Lab.open();
    await lab.makePrimary();
    const { got, send } = await lab.session();
    lab.store.hasRoom = (entries) => entries <= 1;
    for (const request of [1, 2]) send(write(request, request));
    await lab.pass(1);
    lab.confirm();
    expect(answers(got)).toEqual([
      { type: 'written', request: 1, status: 'ok' },
      { type: 'written', request: 2, status: 'ok' },
    ]);
  });

  it('drops what an ended session had not got its order for [R14]', async () => {
    const lab = await Lab.open({ maxInFlightWrites: 1 });
    await lab.makePrimary();
    const first = await lab.session(1);
    first.send(write(1, 1));
    first.send(write(2, 2));
    const before = lab.store.last.sequence;
    const second = lab.frontend();
    second.send({ type: 'open', session: 2 as SessionNumber, generation: 1 as Generation });
    expect(first.got.at(-1)).toMatchObject({ type: 'rejected', reason: 'stale-session' });
    lab.confirm();
    await lab.pass(40);
    expect(lab.store.last.sequence).toBe(before);
    expect(answers(first.got).some((message) => message.type === 'written')).toBe(false);
    const third = lab.frontend();
    third.send({ type: 'open', session: 1 as SessionNumber, generation: 1 as Generation });
    expect(third.got).toMatchObject([{ type: 'rejected', reason: 'stale-session' }]);
  });
});

describe('a member fails', () => {
  it('acknowledges what it missed only when the removal is in etcd', async () => {
    const lab = await Lab.open({ memberGraceMs: 100 });
    await lab.makePrimary();
    const { got, send } = await lab.session();
    send(write(1));
    lab.linkUp = false;
    lab.deployment.onPeerDown('node-b' as never);
    await lab.pass(400);
    expect(lab.swaps.at(-1)!.next).toMatchObject({ inSync: [SELF], epoch: 3 });
    expect(lab.swaps.at(-1)!.next.history).toEqual(lab.record!.history);
    expect(answers(got)).toEqual([]);
    await lab.apply();
    expect(answers(got)).toEqual([{ type: 'written', request: 1, status: 'ok' }]);
    expect(lab.attentions).toContain('member-removed');
  });

  it('repeats a swap of unknown outcome until it is known, and acknowledges nothing meanwhile', async () => {
    const lab = await Lab.open({ memberGraceMs: 100, swapRetryMs: 200 });
    await lab.makePrimary();
    const { got, send } = await lab.session();
    send(write(1));
    lab.linkUp = false;
    lab.deployment.onPeerDown('node-b' as never);
    await lab.pass(300);
    for (let i = 0; i < 3; i++) {
      lab.swaps.at(-1)!.settle('unknown');
      await lab.pass(250);
    }
    const asked = lab.swaps.slice(1);
    expect(asked).toHaveLength(4);
    expect(new Set(asked.map((swap) => JSON.stringify(swap.next))).size).toBe(1);
    expect(answers(got)).toEqual([]);
    // The first request had landed after all.
    lab.record = asked[0]!.next;
    lab.swaps.at(-1)!.settle('conflict');
    await lab.pass(200);
    expect(answers(got)).toEqual([{ type: 'written', request: 1, status: 'ok' }]);
  });

  it('steps down when another one was named meanwhile', async () => {
    const lab = await Lab.open({ memberGraceMs: 100 });
    await lab.makePrimary();
    const { got, send } = await lab.session();
    send(write(1));
    lab.linkUp = false;
    lab.deployment.onPeerDown('node-b' as never);
    await lab.pass(300);
    const { record } = lab;
    lab.record = {
      ...record!,
      epoch: 3 as Epoch,
      active: false,
      primary: { deployment: OTHER, node: 'node-b' as never, incarnation: OTHER_LIFE },
    };
    lab.swaps.at(-1)!.settle('conflict');
    await lab.pass(80);
    expect(answers(got)).toEqual([{ type: 'rejected', session, reason: 'not-primary', primary: 'node-b' }]);
    expect(lab.deployment.status()).toMatchObject({ role: 'member', serving: false });
    expect(lab.attentions).toContain('stepped-down');
  });

  it('steps down when a member has promised a higher epoch', async () => {
    const lab = await Lab.open();
    await lab.makePrimary();
    const { epoch } = lab.last('lease')!;
    const refusal = {
      type: 'refused',
      incarnation: OTHER_LIFE,
      of: 'lease',
      reason: 'stale-epoch',
      last: lab.store.last,
    } as const;
    lab.receive({ ...refusal, epoch });
    expect(lab.deployment.status().role).toBe('primary');
    lab.receive({ ...refusal, epoch: (epoch + 1) as Epoch });
    expect(lab.deployment.status().role).toBe('member');
  });

  it('sends a member that was restarted what its new life lacks, and counts nothing of the old one [R15]', async () => {
    const lab = await Lab.open();
    await lab.makePrimary();
    const { got, send } = await lab.session();
    send(write(1));
    await lab.pass(1);
    const { epoch } = lab.last('append')!;
    const life = 'another life' as Incarnation;
    lab.receive({
      type: 'refused',
      epoch,
      incarnation: life,
      of: 'append',
      reason: 'wrong-incarnation',
      last: lab.store.last,
    });
    lab.receive({
      type: 'appended',
      epoch,
      incarnation: OTHER_LIFE,
      last: lab.store.last.sequence,
      durable: 0 as Sequence,
    });
    expect(answers(got)).toEqual([]);
    const missing = { epoch: 2 as Epoch, sequence: (lab.store.last.sequence - 1) as Sequence };
    const before = lab.all('append').length;
    lab.receive({
      type: 'promised',
      epoch,
      incarnation: life,
      last: missing,
      generation: 1 as Generation,
      unclean: false,
    });
    await lab.pass(40);
    expect(lab.all('append').slice(before)).toMatchObject([
      { incarnation: life, firstSequence: lab.store.last.sequence },
    ]);
    lab.receive({ type: 'leased', epoch, incarnation: life, lease: lab.last('lease')!.lease });
    lab.receive({ type: 'appended', epoch, incarnation: life, last: lab.store.last.sequence, durable: 0 as Sequence });
    expect(answers(got)).toEqual([{ type: 'written', request: 1, status: 'ok' }]);
  });

  it('goes on for a while with too few copies, then refuses writes and still reads', async () => {
    const lab = await Lab.open({ memberGraceMs: 100, shortfallMs: 3_000 }, { kind: 'hard' });
    await lab.makePrimary();
    const { got, send } = await lab.session();
    lab.linkUp = false;
    lab.deployment.onPeerDown('node-b' as never);
    await lab.pass(400);
    await lab.apply();
    send(write(1));
    await lab.pass(1);
    expect(answers(got)).toEqual([{ type: 'written', request: 1, status: 'ok' }]);
    await lab.pass(3_500);
    expect(lab.swaps.at(-1)!.next.readOnly).toBe(true);
    await lab.apply();
    expect(lab.attentions).toContain('read-only');
    const refused = 'warn: writes are refused: too few copies for the failure mode';
    expect(lab.logged.filter((line) => line === refused)).toHaveLength(1);
    send(write(2));
    send(read(3));
    await lab.pass(10);
    expect(answers(got).slice(1)).toMatchObject([
      { type: 'written', request: 2, status: 'read-only' },
      { type: 'data', request: 3, status: 'ok' },
    ]);
    lab.deployment.onVolume({ ...lab.deployment.spec!, failureMode: { kind: 'alwayson' } });
    await lab.pass(10);
    expect(lab.swaps.at(-1)!.next.readOnly).toBe(false);
    await lab.apply();
    expect(lab.logged.at(-1)).toBe('info: writes are taken again: enough copies for the failure mode');
  });

  it('never removes itself, and removes a member that the workflow names', async () => {
    const lab = await Lab.open();
    await lab.makePrimary();
    await expect(lab.deployment.removeMember(SELF, 'surplus')).rejects.toMatchObject({ code: 'invalid-state' });
    const removed = lab.deployment.removeMember(OTHER, 'surplus');
    await lab.pass(40);
    await lab.apply();
    await removed;
    expect(lab.record!).toMatchObject({ inSync: [SELF], outOfSync: [] });
    await lab.deployment.removeMember(OTHER, 'surplus');
  });

  it('says in time that a removal does not get through', async () => {
    const lab = await Lab.open({ removalTimeoutMs: 1_000 });
    await lab.makePrimary();
    let outcome: unknown;
    void lab.deployment.removeMember(OTHER, 'surplus').catch((error: ReplicationError) => {
      outcome = error.code;
    });
    await lab.pass(900);
    expect(outcome).toBeUndefined();
    await lab.pass(300);
    expect(outcome).toBe('busy');
    expect(lab.swaps.at(-1)!.next.inSync).toEqual([SELF]);
  });

  it('forgets a lost copy that is given up once there are enough', async () => {
    const lab = await Lab.open();
    await lab.makePrimary();
    lab.linkUp = false;
    lab.deployment.onPeerDown(OTHER_NODE);
    await lab.pass(1_000);
    await lab.apply();
    expect(lab.record!.outOfSync).toHaveLength(1);
    await lab.deployment.removeMember(OTHER, 'longest away');
    expect(lab.record!.outOfSync).toHaveLength(1);
    lab.deployment.onVolume({ ...lab.deployment.spec!, replicas: 0 });
    const removed = lab.deployment.removeMember(OTHER, 'surplus');
    await lab.pass(40);
    await lab.apply();
    await removed;
    expect(lab.record!).toMatchObject({ inSync: [SELF], outOfSync: [] });
  });

  it('removes a copy behind its addition, whose outcome is still open [R7]', async () => {
    const lab = await Lab.open();
    lab.observe(lab.initial([SELF]));
    await lab.pass(2_500);
    await lab.apply();
    const synced = lab.deployment.startSync(OTHER, () => {}).done;
    await lab.pass(10);
    const header = { epoch: lab.record!.epoch, incarnation: OTHER_LIFE, sync: lab.last('sync-begin')!.sync };
    const base = { epoch: 0 as Epoch, sequence: 0 as Sequence };
    lab.receive({ type: 'sync-ready', ...header, base, dead: [] });
    await lab.pass(300);
    lab.receive({ type: 'sync-finished', ...header });
    await lab.pass(10);
    expect(lab.swaps.at(-1)!.next.inSync).toEqual([SELF, OTHER]);

    let gone = false;
    const removed = lab.deployment.removeMember(OTHER, 'surplus').then(() => {
      gone = true;
    });
    await lab.pass(300);
    expect(gone).toBe(false);
    await lab.apply();
    await synced;
    lab.promise();
    await lab.pass(300);
    expect(gone).toBe(false);
    expect(lab.swaps.at(-1)!.next.inSync).toEqual([SELF]);
    await lab.apply();
    await removed;
    expect(lab.record!.inSync).toEqual([SELF]);
  });
});

describe('a block whose checksum is wrong', () => {
  /** The first `times` reads of block 3 find it damaged. */
  async function damaged(times: number) {
    const lab = await Lab.open({ fetchTimeoutMs: 200 });
    await lab.makePrimary();
    const frontend = await lab.session();
    frontend.send(write(1));
    await lab.pass(1);
    lab.confirm();
    let left = times;
    const stored = (await lab.lookUp(3))!;
    lab.store.read = (first) => {
      if (left-- > 0) return Promise.reject(new BadBlockError(SELF, [stored]));
      return lab.store.readBlocks([first]);
    };
    frontend.send(read(2));
    await lab.pass(40);
    const { request, epoch } = lab.last('fetch')!;
    const answer = (order: Order, batch = dataBatch(1, 3, 1, 16)): void => {
      lab.receive({ type: 'fetched', epoch, request, orders: [order], batch });
    };
    return { lab, ...frontend, answer };
  }

  it('is fetched from another copy, written again under its order, and served', async () => {
    const { lab, got, answer } = await damaged(1);
    expect(lab.last('fetch')).toMatchObject({ blocks: [3] });
    const before = (await lab.lookUp(3))!.order;
    answer(before);
    await lab.pass(40);
    const reply = answers(got).at(-1)!;
    expect(reply).toMatchObject({ type: 'data', request: 2, status: 'ok' });
    expect((await lab.lookUp(3))!.order).toEqual(before);
    expect(lab.deployment.counters).toMatchObject({ blocksHealed: 1, blocksUnhealed: 0 });
  });

  it.each([
    ['another order', (present: Order) => ({ ...present, sequence: (present.sequence - 1) as Sequence }), undefined],
    ['another content', (present: Order) => present, dataBatch(9, 3, 1, 16)],
  ])('is an error for its reader if the other copy has %s', async (_, order, batch) => {
    const { lab, got, answer } = await damaged(9);
    answer(order((await lab.lookUp(3))!.order), batch);
    await lab.pass(40);
    expect(answers(got).at(-1)).toMatchObject({ type: 'data', request: 2, status: 'io-error' });
    expect(lab.deployment.counters).toMatchObject({ blocksHealed: 0, blocksUnhealed: 1 });
    expect(lab.deployment.status().serving).toBe(true);
  });

  it('is an error for its reader if nobody answers in time', async () => {
    const { lab, got } = await damaged(9);
    await lab.pass(400);
    expect(answers(got).at(-1)).toMatchObject({ type: 'data', request: 2, status: 'io-error' });
  });
});
