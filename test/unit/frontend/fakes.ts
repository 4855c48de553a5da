/** A clock that stands still, a connector whose far end the test plays, and batches that carry a number. */

import type { Membership, Placement } from '../../../core/domain.js';
import type { FrontendMessage, SessionMessage } from '../../../core/messages.js';
import type { Clock, Random, SessionChannel, SessionConnector, SessionEvents } from '../../../core/ports.js';
import { type Batch, ENTRY_BYTES, KIND_DATA, readEntry, writeEntry } from '../../../core/record.js';
import type { DeploymentId, Epoch, Incarnation, NodeId, VolumeId } from '../../../core/types.js';

export class FakeClock implements Clock {
  #now = 0;
  #timers = new Set<{ at: number; run: () => void }>();

  now(): number {
    return this.#now;
  }

  timestamp(): string {
    return new Date(this.#now).toISOString();
  }

  after(delayMs: number, run: () => void) {
    const timer = { at: this.#now + delayMs, run };
    this.#timers.add(timer);
    return { cancel: () => void this.#timers.delete(timer) };
  }

  get timers(): number {
    return this.#timers.size;
  }

  /** Lets the time pass, running timers at their moments. */
  async advance(byMs: number): Promise<void> {
    const until = this.#now + byMs;
    for (;;) {
      await settle();
      const next = [...this.#timers].sort((a, b) => a.at - b.at)[0];
      if (next === undefined || next.at > until) break;
      this.#timers.delete(next);
      this.#now = next.at;
      next.run();
    }
    this.#now = until;
    await settle();
  }
}

/** Runs what promises have left to run. */
export const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export const middleRandom: Random = { next: () => 0.5, uuid: () => '00000000-0000-4000-8000-000000000000' };

export interface Link {
  readonly target: { readonly volume: VolumeId } & Placement;
  readonly events: SessionEvents;
  readonly sent: FrontendMessage[];
  closed: boolean;
}

export class FakeConnector implements SessionConnector {
  readonly links: Link[] = [];

  connect(target: { readonly volume: VolumeId } & Placement, events: SessionEvents): SessionChannel {
    const link: Link = { target, events, sent: [], closed: false };
    this.links.push(link);
    return {
      send: (message) => void link.sent.push(message),
      close: () => {
        link.closed = true;
      },
    };
  }

  get last(): Link {
    const link = this.links.at(-1);
    if (link === undefined) throw new Error('no connection was tried');
    return link;
  }
}

/** The session that a link asked for. */
export function sessionOf(link: Link): number {
  const open = link.sent[0];
  if (open?.type !== 'open') throw new Error('the first message is not an open');
  return open.session;
}

export function answer(link: Link, message: SessionMessage): void {
  link.events.message(message);
}

const SIZE = 4096;

/** Blocks `first` … that hold `value`, uncompressed and in clear. The checksum is not computed. */
export function numbered(first: number, blocks: number, value: number): Batch {
  const entries = Buffer.alloc(blocks * ENTRY_BYTES);
  const payload = Buffer.alloc(blocks * SIZE);
  for (let i = 0; i < blocks; i++) {
    const block = first + i;
    const entry = { block, blocks: 1, kind: KIND_DATA, flags: 0, storedLength: SIZE, checksumLow: 0, checksumHigh: 0 };
    writeEntry(entries, i, entry);
    payload.writeUInt32LE(value, i * SIZE);
  }
  return { entries, payload };
}

/** What `numbered` put in: one number for each block. */
export function numbersOf(batch: Batch): number[] {
  const values: number[] = [];
  let at = 0;
  for (let i = 0; i < batch.entries.length / ENTRY_BYTES; i++) {
    const entry = readEntry(batch.entries, i);
    for (let n = 0; n < entry.blocks; n++) values.push(entry.kind === KIND_DATA ? batch.payload.readUInt32LE(at) : 0);
    at += entry.storedLength;
  }
  return values;
}

export const volumeId = '11111111-1111-4111-8111-111111111111' as VolumeId;
export const placements: readonly Placement[] = [1, 2, 3].map((n) => ({
  deployment: `dddddddd-dddd-4ddd-8ddd-00000000000${n}` as DeploymentId,
  node: `aaaaaaaa-aaaa-4aaa-8aaa-00000000000${n}` as NodeId,
}));

/** The record in which placement `primary` (0–2) serves in this epoch. */
export function membership(epoch: number, primary: number, life = 1): Membership {
  const placement = placements[primary];
  if (placement === undefined) throw new Error('no such placement');
  return {
    volume: volumeId,
    epoch: epoch as Epoch,
    primary: { ...placement, incarnation: `ffffffff-ffff-4fff-8fff-00000000000${life}` as Incarnation },
    inSync: placements.map(({ deployment }) => deployment),
    outOfSync: [],
    history: [{ epoch: 1 as Epoch, startsAfter: 0 as never }],
    active: true,
    lossVerifier: 1,
    etcdClusterId: 'cafe',
    readOnly: false,
  };
}
