import { describe, expect, it } from 'vitest';
import { DEFAULT_FRONTEND_SETTINGS, type FrontendSettings } from '../../../core/frontend/settings.js';
import { type AttentionReason, VolumeFrontend } from '../../../core/frontend/volume-frontend.js';
import type { FrontendMessage, IoStatus } from '../../../core/messages.js';
import type { BlockNumber, Epoch, Generation, SessionNumber } from '../../../core/types.js';
import {
  answer,
  FakeClock,
  FakeConnector,
  type Link,
  membership,
  middleRandom,
  numbered,
  numbersOf,
  placements,
  sessionOf,
  settle,
  volumeId,
} from './fakes.js';

function setUp(options: { settings?: Partial<FrontendSettings>; writethrough?: boolean } = {}) {
  const clock = new FakeClock();
  const connector = new FakeConnector();
  const attention: AttentionReason[] = [];
  const fenced: number[] = [];
  let session = 100;
  const frontend = new VolumeFrontend({
    volume: { id: volumeId, blockSize: 4096, blocks: 1000, writethrough: options.writethrough ?? false },
    generation: 7 as Generation,
    session: () => ++session as SessionNumber,
    connector,
    clock,
    random: middleRandom,
    settings: { ...DEFAULT_FRONTEND_SETTINGS, ...options.settings },
    events: {
      attention: (reason) => attention.push(reason),
      fenced: () => fenced.push(clock.now()),
      log: () => undefined,
    },
  });
  return { clock, connector, frontend, attention, fenced };
}

function open(link: Link, options: { epoch?: number; lossVerifier?: number } = {}): void {
  answer(link, {
    type: 'opened',
    session: sessionOf(link) as SessionNumber,
    epoch: (options.epoch ?? 1) as Epoch,
    lossVerifier: options.lossVerifier ?? 1,
  });
}

/** What was sent behind the `open`, in short. */
const said = (link: Link): string[] =>
  link.sent.slice(1).map((message) => {
    if (message.type === 'write') return `write ${numbersOf(message.batch)[0]}`;
    return message.type === 'read' ? `read ${message.block}` : message.type;
  });

function requestOf(link: Link, type: FrontendMessage['type'], nth = 0): number {
  const message = link.sent.filter((sent) => sent.type === type)[nth];
  if (message === undefined || message.type === 'open') throw new Error(`no ${type} ${nth}`);
  return message.request;
}

const written = (link: Link, nth = 0, status: IoStatus = 'ok') =>
  answer(link, { type: 'written', request: requestOf(link, 'write', nth), status });
const synced = (link: Link, nth = 0, status: IoStatus = 'ok') =>
  answer(link, { type: 'synced', request: requestOf(link, 'sync', nth), status });

/** The value of a promise that has been kept by now. */
async function now<T>(promise: Promise<T>): Promise<T | 'pending'> {
  await settle();
  return Promise.race([promise, Promise.resolve('pending' as const)]);
}

describe('a session', () => {
  it('is opened with the generation at the primary that the record names, and carries I/O', async () => {
    const { frontend, connector } = setUp();
    const write = frontend.write(numbered(5, 1, 42), false);
    expect(connector.links).toHaveLength(0);
    frontend.onMembership(membership(1, 1), placements);
    const link = connector.last;
    expect(link.target).toEqual({ volume: volumeId, ...placements[1] });
    expect(link.sent).toEqual([{ type: 'open', session: 101, generation: 7 }]);
    open(link);
    expect(said(link)).toEqual(['write 42']);
    expect(frontend.status).toMatchObject({ connected: true, primary: placements[1]?.node, pendingRequests: 1 });
    written(link);
    expect(await now(write)).toBe('ok');

    const read = frontend.read(5 as BlockNumber, 1);
    answer(link, { type: 'data', request: requestOf(link, 'read'), status: 'ok', batch: numbered(5, 1, 42) });
    const result = await read;
    expect(result.status).toBe('ok');
    expect(numbersOf(result.batch)).toEqual([42]);
    expect(frontend.status).toMatchObject({ pendingRequests: 0, pendingBytes: 0 });
  });

  it('that is lost is followed by one with a higher number, in which writes come first and in order', async () => {
    const { frontend, connector, clock } = setUp();
    frontend.onMembership(membership(1, 0), placements);
    open(connector.last);
    const first = connector.last;
    void frontend.read(90 as BlockNumber, 1);
    void frontend.write(numbered(1, 1, 1), false);
    const done = frontend.write(numbered(2, 1, 2), false);
    void frontend.flush();
    void frontend.write(numbered(3, 1, 3), false);
    written(first, 1);
    expect(await now(done)).toBe('ok');
    first.events.closed('gone');
    void frontend.write(numbered(4, 1, 4), false);
    await clock.advance(500);
    const second = connector.last;
    expect(sessionOf(second)).toBeGreaterThan(sessionOf(first));
    open(second);
    expect(said(second)).toEqual(['write 1', 'write 3', 'sync', 'read 90', 'write 4']);
  });

  it('answers of an older session count no more', async () => {
    const { frontend, connector, clock } = setUp();
    frontend.onMembership(membership(1, 0), placements);
    const first = connector.last;
    open(first);
    const write = frontend.write(numbered(1, 1, 1), false);
    first.events.closed('gone');
    await clock.advance(500);
    open(connector.last);
    written(first);
    expect(await now(write)).toBe('pending');
    written(connector.last);
    expect(await now(write)).toBe('ok');
  });

  it('goes where a refusing node points, once, and then where the record says', async () => {
    const { frontend, connector, clock } = setUp();
    frontend.onMembership(membership(1, 0), placements);
    const refuse = (link: Link, primary?: number) => {
      const node = primary === undefined ? undefined : placements[primary]?.node;
      answer(link, {
        type: 'rejected',
        session: sessionOf(link) as SessionNumber,
        reason: 'not-primary',
        ...(node !== undefined && { primary: node }),
      });
    };
    refuse(connector.last, 2);
    await clock.advance(30);
    expect(connector.last.target.node).toBe(placements[2]?.node);
    refuse(connector.last);
    await clock.advance(60);
    expect(connector.last.target.node).toBe(placements[0]?.node);
  });

  it('is tried again after pauses that grow to the longest and no further', async () => {
    const { connector, frontend, clock } = setUp({ settings: { retryMinMs: 20, retryMaxMs: 500 } });
    frontend.onMembership(membership(1, 0), placements);
    const times: number[] = [];
    for (let i = 0; i < 9; i++) {
      const count = connector.links.length;
      times.push(clock.now());
      connector.last.events.closed('refused');
      while (connector.links.length === count) await clock.advance(1);
    }
    const pauses = times.slice(1).map((time, i) => time - (times[i] ?? 0));
    expect(pauses).toEqual([15, 30, 60, 120, 240, 375, 375, 375]);
  });

  it('that gets no answer to its opening is given up', async () => {
    const { connector, frontend, clock } = setUp({ settings: { openTimeoutMs: 1000 } });
    frontend.onMembership(membership(1, 0), placements);
    await clock.advance(1100);
    expect(connector.links[0]?.closed).toBe(true);
    expect(connector.links).toHaveLength(2);
  });

  it('moves at once when a newer record names another primary or another life of it, and only then', async () => {
    const { connector, frontend } = setUp();
    frontend.onMembership(membership(3, 0), placements);
    open(connector.last, { epoch: 3 });
    frontend.onMembership(membership(4, 0), placements);
    frontend.onMembership(membership(2, 1), placements);
    expect(connector.links).toHaveLength(1);
    frontend.onMembership(membership(5, 0, 2), placements);
    expect(connector.links).toHaveLength(2);
    expect(connector.links[0]?.closed).toBe(true);
    open(connector.last, { epoch: 5 });
    frontend.onMembership(membership(6, 1), placements);
    expect(connector.links).toHaveLength(3);
    expect(connector.last.target.node).toBe(placements[1]?.node);
  });

  it('survives a record older than the epoch of its primary', () => {
    const { connector, frontend } = setUp();
    frontend.onMembership(membership(1, 0), placements);
    answer(connector.last, {
      type: 'rejected',
      session: sessionOf(connector.last) as SessionNumber,
      reason: 'not-primary',
    });
    frontend.onMembership(membership(2, 1), placements);
    open(connector.last, { epoch: 9 });
    frontend.onMembership(membership(8, 0), placements);
    expect(connector.last.closed).toBe(false);
    expect(frontend.status.connected).toBe(true);
  });

  it('ends with the connector saying so within the call', async () => {
    const { clock } = setUp();
    let tries = 0;
    const frontend = new VolumeFrontend({
      volume: { id: volumeId, blockSize: 4096, blocks: 1000, writethrough: false },
      generation: 1 as Generation,
      session: () => ++tries as SessionNumber,
      connector: {
        connect: (_, events) => {
          events.closed('no route');
          return { send: () => expect.fail('nothing is to be sent'), close: () => undefined };
        },
      },
      clock,
      random: middleRandom,
      settings: DEFAULT_FRONTEND_SETTINGS,
      events: { attention: () => undefined, fenced: () => undefined, log: () => undefined },
    });
    frontend.onMembership(membership(1, 0), placements);
    await clock.advance(100);
    expect(tries).toBeGreaterThan(2);
    expect(frontend.status.connected).toBe(false);
  });
});

describe('order', () => {
  it('sends an overlapping write only when the one before it is done, and a read behind both', async () => {
    const { connector, frontend } = setUp();
    frontend.onMembership(membership(1, 0), placements);
    const link = connector.last;
    open(link);
    void frontend.write(numbered(10, 4, 1), false);
    void frontend.write(numbered(13, 2, 2), false);
    void frontend.write(numbered(20, 1, 3), false);
    void frontend.read(14 as BlockNumber, 1);
    expect(said(link)).toEqual(['write 1', 'write 3']);
    written(link, 0);
    expect(said(link)).toEqual(['write 1', 'write 3', 'write 2']);
    written(link, 2);
    expect(said(link)).toEqual(['write 1', 'write 3', 'write 2', 'read 14']);
  });

  it('keeps a waiting write behind across a loss of the session', async () => {
    const { connector, frontend, clock } = setUp();
    frontend.onMembership(membership(1, 0), placements);
    open(connector.last);
    void frontend.write(numbered(1, 1, 1), false);
    void frontend.write(numbered(1, 1, 2), false);
    connector.last.events.closed('gone');
    await clock.advance(100);
    open(connector.last);
    expect(said(connector.last)).toEqual(['write 1']);
    written(connector.last);
    expect(said(connector.last)).toEqual(['write 1', 'write 2']);
  });

  it('has no more in the window than allowed, but always something', () => {
    const { connector, frontend } = setUp({ settings: { windowRequests: 3, windowBytes: 10_000 } });
    frontend.onMembership(membership(1, 0), placements);
    const link = connector.last;
    open(link);
    void frontend.write(numbered(0, 4, 1), false);
    void frontend.write(numbered(10, 1, 2), false);
    expect(said(link)).toEqual(['write 1']);
    written(link);
    for (let i = 3; i < 6; i++) void frontend.write(numbered(10 * i, 1, i), false);
    expect(said(link)).toEqual(['write 1', 'write 2', 'write 3']);
    for (let i = 0; i < 4; i++) void frontend.flush();
    written(link, 1);
    written(link, 2);
    expect(said(link).slice(3)).toEqual(['write 4', 'write 5', 'sync']);
  });
});

describe('answers', () => {
  it('pass a status on', async () => {
    const { connector, frontend } = setUp();
    frontend.onMembership(membership(1, 0), placements);
    open(connector.last);
    const write = frontend.write(numbered(1, 1, 1), false);
    written(connector.last, 0, 'no-space');
    expect(await now(write)).toBe('no-space');
  });

  it.each([
    ['another block', numbered(6, 2, 1)],
    ['too few blocks', numbered(5, 1, 1)],
    ['too many blocks', numbered(5, 3, 1)],
    ['a payload too short', { ...numbered(5, 2, 1), payload: Buffer.alloc(4096) }],
    ['nothing', { entries: Buffer.alloc(0), payload: Buffer.alloc(0) }],
    ['a broken table', { entries: Buffer.alloc(33), payload: Buffer.alloc(0) }],
  ])('to a read with %s are an I/O error', async (_, batch) => {
    const { connector, frontend } = setUp();
    frontend.onMembership(membership(1, 0), placements);
    open(connector.last);
    const read = frontend.read(5 as BlockNumber, 2);
    answer(connector.last, { type: 'data', request: requestOf(connector.last, 'read'), status: 'ok', batch });
    expect((await read).status).toBe('io-error');
  });

  it('to nothing that was asked are ignored', async () => {
    const { connector, frontend } = setUp();
    frontend.onMembership(membership(1, 0), placements);
    open(connector.last);
    const write = frontend.write(numbered(1, 1, 1), false);
    const request = requestOf(connector.last, 'write');
    answer(connector.last, { type: 'synced', request, status: 'ok' });
    answer(connector.last, { type: 'written', request: request + 1, status: 'ok' });
    expect(await now(write)).toBe('pending');
  });

  it('are "invalid" at once for a range outside the volume', async () => {
    const { frontend } = setUp();
    expect(await now(frontend.write(numbered(1000, 1, 1), false))).toBe('invalid');
    expect((await frontend.read(999 as BlockNumber, 2)).status).toBe('invalid');
    expect((await frontend.read(1 as BlockNumber, 0)).status).toBe('invalid');
  });
});

describe('acknowledged writes that were lost', () => {
  async function withOneWrite(options: { fua?: boolean; flushed?: boolean; writethrough?: boolean } = {}) {
    const world = setUp({ writethrough: options.writethrough ?? false });
    const { frontend, connector } = world;
    frontend.onMembership(membership(1, 0), placements);
    open(connector.last);
    const write = frontend.write(numbered(1, 1, 1), options.fua ?? false);
    written(connector.last);
    await write;
    if (options.flushed) {
      const flush = frontend.flush();
      synced(connector.last);
      await flush;
    }
    return world;
  }

  it('fail the next flush, once', async () => {
    const { frontend, connector, attention } = await withOneWrite();
    frontend.onMembership(membership(2, 1), placements);
    open(connector.last, { epoch: 2, lossVerifier: 2 });
    expect(attention).toContain('lost-writes');
    expect(await now(frontend.flush())).toBe('io-error');
    const flush = frontend.flush();
    synced(connector.last);
    expect(await now(flush)).toBe('ok');
  });

  it('fail every flush that was waiting for its answer', async () => {
    const { frontend, connector } = await withOneWrite();
    const flushes = [frontend.flush(), frontend.flush()];
    frontend.onMembership(membership(2, 1), placements);
    open(connector.last, { epoch: 2, lossVerifier: 2 });
    expect(await Promise.all(flushes)).toEqual(['io-error', 'io-error']);
    const flush = frontend.flush();
    synced(connector.last);
    expect(await now(flush)).toBe('ok');
  });

  it.each([
    ['were flushed', { flushed: true }],
    ['were forced to the disk', { fua: true }],
    ['are durable anyway', { writethrough: true }],
  ])('are none if all %s', async (_, options) => {
    const { frontend, connector, attention } = await withOneWrite(options);
    frontend.onMembership(membership(2, 1), placements);
    open(connector.last, { epoch: 2, lossVerifier: 2 });
    expect(attention).not.toContain('lost-writes');
    const flush = frontend.flush();
    synced(connector.last, 0);
    expect(await now(flush)).toBe('ok');
  });

  it('count from when the flush was asked for, not from when it was answered', async () => {
    const { frontend, connector } = setUp();
    frontend.onMembership(membership(1, 0), placements);
    open(connector.last);
    const flush = frontend.flush();
    const write = frontend.write(numbered(1, 1, 1), false);
    written(connector.last);
    await write;
    synced(connector.last);
    expect(await now(flush)).toBe('ok');
    frontend.onMembership(membership(2, 1), placements);
    open(connector.last, { epoch: 2, lossVerifier: 2 });
    expect(await now(frontend.flush())).toBe('io-error');
  });
});

describe('the end', () => {
  it('comes with a newer generation: everything fails, for good', async () => {
    const { frontend, connector, clock, fenced } = setUp();
    frontend.onMembership(membership(1, 0), placements);
    open(connector.last);
    const write = frontend.write(numbered(1, 1, 1), false);
    const waiting = frontend.write(numbered(1, 1, 2), false);
    answer(connector.last, {
      type: 'rejected',
      session: sessionOf(connector.last) as SessionNumber,
      reason: 'fenced',
    });
    expect(await Promise.all([write, waiting])).toEqual(['io-error', 'io-error']);
    expect(fenced).toHaveLength(1);
    frontend.onMembership(membership(2, 1), placements);
    await clock.advance(10_000);
    expect(connector.links).toHaveLength(1);
    expect(await frontend.write(numbered(1, 1, 3), false)).toBe('io-error');
    expect(await frontend.flush()).toBe('io-error');
    expect(frontend.status).toMatchObject({ fenced: true, connected: false });
    expect(clock.timers).toBe(0);
  });

  it('leaves no timer and no connection after close', async () => {
    const { frontend, connector, clock } = setUp();
    frontend.onMembership(membership(1, 0), placements);
    const read = frontend.read(1 as BlockNumber, 1);
    await frontend.close();
    expect((await read).status).toBe('io-error');
    expect(connector.last.closed).toBe(true);
    expect(clock.timers).toBe(0);
  });
});

describe('patience', () => {
  it('lasts for deviceTimeoutMs, then a request fails, and what waited for it goes on', async () => {
    const { frontend, connector, clock } = setUp({ settings: { deviceTimeoutMs: 60_000 } });
    frontend.onMembership(membership(1, 0), placements);
    open(connector.last);
    const first = frontend.write(numbered(1, 1, 1), false);
    await clock.advance(30_000);
    const second = frontend.write(numbered(1, 1, 2), false);
    await clock.advance(29_000);
    expect(await now(first)).toBe('pending');
    await clock.advance(1_000);
    expect(await now(first)).toBe('io-error');
    expect(said(connector.last)).toEqual(['write 1', 'write 2']);
    written(connector.last, 0);
    expect(await now(second)).toBe('pending');
    written(connector.last, 1);
    expect(await now(second)).toBe('ok');
  });

  it('asks for attention without a session after a while, and not too often', async () => {
    const { frontend, connector, clock, attention } = setUp();
    await clock.advance(299);
    expect(attention).toEqual([]);
    await clock.advance(1);
    expect(attention).toEqual(['no-primary']);
    await clock.advance(2_000);
    expect(attention).toEqual(['no-primary', 'no-primary']);
    frontend.onMembership(membership(1, 0), placements);
    open(connector.last);
    await clock.advance(10_000);
    expect(attention).toHaveLength(2);
    connector.last.events.closed('gone');
    await clock.advance(300);
    expect(attention).toHaveLength(3);
  });

  it('asks for attention when an open session does not answer', async () => {
    const { frontend, connector, clock, attention } = setUp();
    frontend.onMembership(membership(1, 0), placements);
    open(connector.last);
    void frontend.flush();
    await clock.advance(4_000);
    expect(attention).toEqual(['stalled', 'stalled']);
  });
});
