/**
 * Whatever happens to its sessions, a frontend is one disk: seen from its caller, each block is a register.
 * Random programs of writes, reads and flushes against a primary that fails in the middle of them.
 */

import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DEFAULT_FRONTEND_SETTINGS } from '../../../core/frontend/settings.js';
import { VolumeFrontend } from '../../../core/frontend/volume-frontend.js';
import type { FrontendMessage, SessionMessage } from '../../../core/messages.js';
import type { SessionChannel, SessionEvents } from '../../../core/ports.js';
import { ENTRY_BYTES, readEntry } from '../../../core/record.js';
import type { BlockNumber, Epoch, Generation, SessionNumber } from '../../../core/types.js';
import { FakeClock, membership, middleRandom, numbered, numbersOf, placements, settle, volumeId } from './fakes.js';

const BLOCKS = 8;

interface Session {
  readonly events: SessionEvents;
  readonly arrived: FrontendMessage[];
  readonly answers: SessionMessage[];
  number: number;
  over: boolean;
}

/** Registers behind sessions; the test says when a message is done, answered, or lost with its session. */
class SteppedPrimary {
  readonly values = new Array<number>(BLOCKS).fill(0);
  readonly sessions: Session[] = [];
  /** Writes done, by value: a write of one session that is done after a newer session's would show here. */
  readonly done: number[] = [];

  connect(_target: unknown, events: SessionEvents): SessionChannel {
    const session: Session = { events, arrived: [], answers: [], number: 0, over: false };
    this.sessions.push(session);
    return {
      send: (message) => void session.arrived.push(message),
      close: () => {
        session.over = true;
      },
    };
  }

  get current(): Session | undefined {
    return this.sessions.at(-1);
  }

  /** Does the next message of the newest session. */
  perform(): void {
    const session = this.current;
    const message = session?.arrived.shift();
    if (session === undefined || message === undefined) return;
    switch (message.type) {
      case 'open':
        session.number = message.session;
        session.answers.push({ type: 'opened', session: message.session, epoch: 1 as Epoch, lossVerifier: 1 });
        break;
      case 'write': {
        const values = numbersOf(message.batch);
        for (let i = 0; i < message.batch.entries.length / ENTRY_BYTES; i++) {
          this.values[readEntry(message.batch.entries, i).block] = values[i] ?? 0;
        }
        this.done.push(values[0] ?? 0);
        session.answers.push({ type: 'written', request: message.request, status: 'ok' });
        break;
      }
      case 'read': {
        const all = Array.from({ length: message.blocks }, (_, i) =>
          numbered(message.block + i, 1, this.values[message.block + i] ?? 0),
        );
        const batch = {
          entries: Buffer.concat(all.map(({ entries }) => entries)),
          payload: Buffer.concat(all.map(({ payload }) => payload)),
        };
        session.answers.push({ type: 'data', request: message.request, status: 'ok', batch });
        break;
      }
      case 'sync':
        session.answers.push({ type: 'synced', request: message.request, status: 'ok' });
    }
  }

  /** Answers may overtake each other. */
  answer(which: number): void {
    const session = this.current;
    if (session === undefined || session.answers.length === 0) return;
    const [message] = session.answers.splice(
      session.answers[0]?.type === 'opened' ? 0 : which % session.answers.length,
      1,
    );
    if (message !== undefined) session.events.message(message);
  }

  lose(): void {
    const session = this.current;
    if (session === undefined || session.over) return;
    session.over = true;
    session.events.closed('lost');
  }
}

const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('write' as const),
      first: fc.nat(BLOCKS - 1),
      blocks: fc.integer({ min: 1, max: 3 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('read' as const),
      first: fc.nat(BLOCKS - 1),
      blocks: fc.integer({ min: 1, max: 3 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('flush' as const) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('perform' as const) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('answer' as const), which: fc.nat(20) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('lose' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('time' as const), ms: fc.integer({ min: 1, max: 400 }) }) },
);

describe('a frontend over failing sessions', () => {
  it('answers everything once, and every block is a register', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 120 }), fc.boolean(), async (program, narrow) => {
        const clock = new FakeClock();
        const primary = new SteppedPrimary();
        let number = 0;
        const frontend = new VolumeFrontend({
          volume: { id: volumeId, blockSize: 4096, blocks: BLOCKS, writethrough: false },
          generation: 1 as Generation,
          session: () => ++number as SessionNumber,
          connector: { connect: (target, events) => primary.connect(target, events) },
          clock,
          random: middleRandom,
          settings: { ...DEFAULT_FRONTEND_SETTINGS, windowRequests: narrow ? 2 : 100, deviceTimeoutMs: 1e12 },
          events: { attention: () => undefined, fenced: () => undefined, log: () => undefined },
        });
        frontend.onMembership(membership(1, 0), placements);

        // Values rise in the order of the calls, so "older than" is "less than".
        let value = 0;
        let pending = 0;
        const acknowledged = new Array<number>(BLOCKS).fill(0);
        const issued = new Array<number>(BLOCKS).fill(0);
        const checks: Promise<void>[] = [];
        for (const s of program) {
          switch (s.do) {
            case 'write': {
              const blocks = Math.min(s.blocks, BLOCKS - s.first);
              const mine = ++value;
              pending++;
              for (let i = s.first; i < s.first + blocks; i++) issued[i] = mine;
              const write = frontend.write(numbered(s.first, blocks, mine), false).then((status) => {
                pending--;
                expect(status).toBe('ok');
                for (let i = s.first; i < s.first + blocks; i++) {
                  acknowledged[i] = Math.max(acknowledged[i] ?? 0, mine);
                }
              });
              checks.push(write);
              break;
            }
            case 'read': {
              const blocks = Math.min(s.blocks, BLOCKS - s.first);
              const atLeast = acknowledged.slice(s.first, s.first + blocks);
              pending++;
              const read = frontend.read(s.first as BlockNumber, blocks).then(({ status, batch }) => {
                pending--;
                expect(status).toBe('ok');
                numbersOf(batch).forEach((seen, i) => {
                  expect(seen).toBeGreaterThanOrEqual(atLeast[i] ?? 0);
                  expect(seen).toBeLessThanOrEqual(issued[s.first + i] ?? 0);
                });
              });
              checks.push(read);
              break;
            }
            case 'flush':
              pending++;
              checks.push(
                frontend.flush().then((status) => {
                  pending--;
                  expect(status).toBe('ok');
                }),
              );
              break;
            case 'perform':
              primary.perform();
              break;
            case 'answer':
              primary.answer(s.which);
              break;
            case 'lose':
              primary.lose();
              break;
            case 'time':
              await clock.advance(s.ms);
          }
          if (s.do !== 'time') await settle();
        }
        for (let rounds = 0; pending > 0; rounds++) {
          expect(rounds).toBeLessThan(2_000);
          if (primary.current?.over) await clock.advance(600);
          primary.perform();
          primary.answer(0);
          await settle();
        }
        await Promise.all(checks);
        expect(primary.values).toEqual(issued);
        expect(frontend.status).toMatchObject({ pendingRequests: 0, pendingBytes: 0 });
        await frontend.close();
      }),
      { numRuns: 300 },
    );
  });
});
