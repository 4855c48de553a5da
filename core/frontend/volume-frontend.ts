import type { Membership, Placement } from '../domain.js';
import type { IoStatus, Opened, SessionMessage } from '../messages.js';
import type { Clock, Random, SessionConnector, Timer } from '../ports.js';
import { type Batch, retain } from '../record.js';
import type { BlockNumber, Generation, NodeId, SessionNumber, VolumeId } from '../types.js';
import { LossTracker } from './losses.js';
import { coversExactly, rangeOf } from './ranges.js';
import { type PendingRequest, type RequestResult, RequestTable } from './requests.js';
import { SessionKeeper } from './session-keeper.js';
import type { FrontendSettings } from './settings.js';

export interface FrontendVolume {
  readonly id: VolumeId;
  /** Bytes of a block and number of blocks. */
  readonly blockSize: number;
  readonly blocks: number;
  /** Every acknowledged write is on the members' disks (durability `writethrough`). */
  readonly writethrough: boolean;
}

/** `no-primary`: no session for some time. `stalled`: requests stay unanswered. `lost-writes`: see LossTracker. */
export type AttentionReason = 'no-primary' | 'stalled' | 'lost-writes';

export interface FrontendEvents {
  /** The volume's workflow should look; said again every `attentionEveryMs` while it lasts. */
  attention(reason: AttentionReason): void;
  /** A newer attachment exists; every request fails from now on. Said once. */
  fenced(): void;
  log(level: 'info' | 'warn', message: string, fields: Readonly<Record<string, unknown>>): void;
}

export interface FrontendStatus {
  readonly connected: boolean;
  /** The node that serves the open session. */
  readonly primary?: NodeId;
  readonly session?: SessionNumber;
  readonly fenced: boolean;
  readonly pendingRequests: number;
  readonly pendingBytes: number;
  /** When the oldest unanswered request came, in `Clock.now()`. */
  readonly oldestRequestAtMs?: number;
  readonly sessionsOpened: number;
}

const EMPTY_BATCH: Batch = { entries: Buffer.alloc(0), payload: Buffer.alloc(0) };

/** A request as its caller hands it over. */
type Submission = Pick<PendingRequest, 'kind' | 'first' | 'end' | 'bytes' | 'fua' | 'resolve'> & {
  readonly batch?: Batch;
};

/** The answer to all but a read that went well. */
function withoutBlocks(status: IoStatus): RequestResult {
  return { status, batch: EMPTY_BATCH };
}

/** How often ages are looked at while requests are pending. */
const AGE_CHECK_MS = 1_000;

/**
 * One attached volume on its consumer's node: takes reads, writes and flushes of encoded blocks and gets each
 * answered once, across changes of the primary. What was not acknowledged when a session ended is sent again
 * in the next one: writes in their order, then flushes and reads, then what is new. A primary drops all
 * requests of a session that is not the newest, so none is done twice with something between.
 *
 * It has no time-out but `deviceTimeoutMs`: while a primary may come back, I/O waits.
 */
export class VolumeFrontend {
  readonly #volume: FrontendVolume;
  readonly #clock: Clock;
  readonly #settings: FrontendSettings;
  readonly #events: FrontendEvents;
  readonly #keeper: SessionKeeper;
  readonly #requests: RequestTable;
  readonly #losses: LossTracker;
  #nextRequest = 1;
  #sessionsOpened = 0;
  #ageCheck: Timer | undefined;
  #stallSaidAtMs = Number.NEGATIVE_INFINITY;
  #ended: 'fenced' | 'closed' | undefined;

  constructor(options: {
    readonly volume: FrontendVolume;
    readonly generation: Generation;
    /** The next session number: rises for ever on this node, across restarts of the process too. */
    readonly session: () => SessionNumber;
    readonly connector: SessionConnector;
    readonly clock: Clock;
    readonly random: Random;
    readonly settings: FrontendSettings;
    readonly events: FrontendEvents;
  }) {
    this.#volume = options.volume;
    this.#clock = options.clock;
    this.#settings = options.settings;
    this.#events = options.events;
    this.#requests = new RequestTable(options.settings);
    this.#losses = new LossTracker(options.volume.writethrough);
    this.#keeper = new SessionKeeper({
      volume: options.volume.id,
      generation: options.generation,
      nextSession: options.session,
      connector: options.connector,
      clock: options.clock,
      random: options.random,
      settings: options.settings,
      events: {
        opened: (message) => this.#onOpened(message),
        answer: (message) => this.#onAnswer(message),
        lost: (reason) => this.#onLost(reason),
        fenced: () => this.#onFenced(),
        absent: () => options.events.attention('no-primary'),
      },
    });
  }

  get status(): FrontendStatus {
    const { primary, session } = this.#keeper;
    const oldest = this.#requests.oldest();
    return {
      connected: this.#keeper.channel !== undefined,
      ...(primary !== undefined && { primary }),
      ...(session !== undefined && { session }),
      fenced: this.#ended === 'fenced',
      pendingRequests: this.#requests.size,
      pendingBytes: this.#requests.bytes,
      ...(oldest !== undefined && { oldestRequestAtMs: oldest.submittedAtMs }),
      sessionsOpened: this.#sessionsOpened,
    };
  }

  /** The newest membership and placements known here. Records older than one seen before are ignored. */
  onMembership(record: Membership | undefined, placements: readonly Placement[]): void {
    this.#keeper.onMembership(record, placements);
  }

  /**
   * Writes encoded blocks: DATA and ZERO entries of blocks of this volume. `fua`: durable when it is answered. The
   * caller holds the batch's lease, if it has one, until then.
   */
  write(batch: Batch, fua: boolean): Promise<IoStatus> {
    const { first, end } = rangeOf(batch);
    const bytes = batch.entries.length + batch.payload.length;
    return new Promise((resolve) => {
      this.#submit({ kind: 'write', first, end, bytes, fua, batch, resolve: ({ status }) => resolve(status) });
    });
  }

  /** The blocks as stored, in order; `batch` is empty unless the status is `ok`, and the caller's to release. */
  read(first: BlockNumber, blocks: number): Promise<RequestResult> {
    const bytes = blocks * this.#volume.blockSize;
    return new Promise((resolve) => {
      this.#submit({ kind: 'read', first, end: first + blocks, bytes, fua: false, resolve });
    });
  }

  /** All writes acknowledged before the call are durable when it answers `ok`. */
  flush(): Promise<IoStatus> {
    if (this.#losses.takeReport()) return Promise.resolve('io-error');
    return new Promise((resolve) => {
      const range = { first: 0, end: 0, bytes: 0 };
      this.#submit({ kind: 'flush', ...range, fua: false, resolve: ({ status }) => resolve(status) });
    });
  }

  /** Ends the session; what is unanswered fails. Flush before, if that matters. */
  async close(): Promise<void> {
    this.#end('closed');
  }

  #submit(request: Submission): void {
    const { kind, first, end, resolve } = request;
    if (this.#ended !== undefined) {
      resolve(withoutBlocks('io-error'));
      return;
    }
    if (kind !== 'flush' && !(first >= 0 && first < end && end <= this.#volume.blocks)) {
      resolve(withoutBlocks('invalid'));
      return;
    }
    this.#requests.add({
      id: this.#nextRequest++,
      kind,
      first,
      end,
      bytes: request.bytes,
      submittedAtMs: this.#clock.now(),
      batch: request.batch,
      fua: request.fua,
      mark: kind === 'flush' ? this.#losses.mark() : 0,
      resolve,
      state: 'ready',
      blockers: 0,
      dependents: [],
    });
    this.#scheduleAgeCheck();
    this.#pump();
  }

  #pump(): void {
    const { channel, session } = this.#keeper;
    if (channel === undefined || session === undefined) return;
    // A connector may answer, or end the session, within `send`: then the requests are somebody else's to send.
    while (this.#keeper.channel === channel) {
      const next = this.#requests.takeReady();
      if (next === undefined) return;
      const request = next.id;
      if (next.batch !== undefined) {
        channel.send({ type: 'write', session, request, fua: next.fua, batch: next.batch });
      } else if (next.kind === 'read') {
        const blocks = next.end - next.first;
        channel.send({ type: 'read', session, request, block: next.first as BlockNumber, blocks });
      } else {
        channel.send({ type: 'sync', session, request });
      }
    }
  }

  #onOpened(message: Opened): void {
    this.#sessionsOpened++;
    const { primary, session } = this.#keeper;
    const pending = this.#requests.size;
    this.#events.log('info', 'session open', { primary, session, epoch: message.epoch, replayed: pending });
    if (this.#losses.opened(message.lossVerifier)) {
      this.#events.log('warn', 'acknowledged writes that were not flushed have been lost', { epoch: message.epoch });
      this.#events.attention('lost-writes');
      // Each of these flushes was asked for by somebody who relies on what is gone.
      const flushes = this.#requests.ofKind('flush');
      if (flushes.length > 0) this.#losses.takeReport();
      for (const flush of flushes) this.#finish(flush, withoutBlocks('io-error'));
    }
    this.#pump();
  }

  #onAnswer(message: SessionMessage): void {
    switch (message.type) {
      case 'written': {
        const request = this.#sent(message.request, 'write');
        if (request === undefined) return;
        if (message.status === 'ok') this.#losses.acknowledged(request.fua);
        this.#finish(request, withoutBlocks(message.status));
        break;
      }
      case 'data': {
        const request = this.#sent(message.request, 'read');
        if (request === undefined) return;
        this.#finish(request, this.#checkedRead(request, message.status, message.batch));
        break;
      }
      case 'synced': {
        const request = this.#sent(message.request, 'flush');
        if (request === undefined) return;
        if (message.status === 'ok') this.#losses.flushed(request.mark);
        this.#finish(request, withoutBlocks(message.status));
        break;
      }
      default:
        return;
    }
    this.#pump();
  }

  /** The request that an answer is for; undefined if it was given up, or if the answer makes no sense. */
  #sent(id: number, kind: PendingRequest['kind']): PendingRequest | undefined {
    const request = this.#requests.get(id);
    return request?.kind === kind && request.state === 'sent' ? request : undefined;
  }

  #checkedRead(request: PendingRequest, status: IoStatus, batch: Batch): RequestResult {
    if (status !== 'ok') return withoutBlocks(status);
    if (coversExactly(batch, request.first, request.end - request.first)) {
      retain(batch);
      return { status, batch };
    }
    const { first, end } = request;
    this.#events.log('warn', 'the primary answered a read with other blocks', { first, end });
    return withoutBlocks('io-error');
  }

  #finish(request: PendingRequest, result: RequestResult): void {
    this.#requests.remove(request);
    request.resolve(result);
  }

  #onLost(reason: string): void {
    this.#requests.rewind();
    this.#events.log('warn', 'session lost', { reason, pending: this.#requests.size });
  }

  #onFenced(): void {
    this.#end('fenced');
    this.#events.log('warn', 'fenced: the volume is attached anew', {});
    this.#events.fenced();
  }

  #end(why: 'fenced' | 'closed'): void {
    if (this.#ended !== undefined) return;
    this.#ended = why;
    this.#ageCheck?.cancel();
    this.#keeper.end();
    for (const request of this.#requests.all()) this.#finish(request, withoutBlocks('io-error'));
  }

  #scheduleAgeCheck(): void {
    if (this.#ageCheck !== undefined) return;
    const delayMs = Math.min(AGE_CHECK_MS, this.#settings.deviceTimeoutMs);
    this.#ageCheck = this.#clock.after(delayMs, () => {
      this.#ageCheck = undefined;
      this.#checkAges();
      if (this.#requests.size > 0) this.#scheduleAgeCheck();
    });
  }

  #checkAges(): void {
    const now = this.#clock.now();
    const { deviceTimeoutMs, attentionAfterMs, attentionEveryMs } = this.#settings;
    for (;;) {
      const oldest = this.#requests.oldest();
      if (oldest === undefined) return;
      const ageMs = now - oldest.submittedAtMs;
      if (ageMs >= deviceTimeoutMs) {
        // Its effect is unknown to the caller, as with any disk: it may be done, but before anything that follows.
        this.#events.log('warn', 'request given up', { kind: oldest.kind, ageMs });
        this.#finish(oldest, withoutBlocks('io-error'));
        continue;
      }
      if (ageMs >= attentionAfterMs && now - this.#stallSaidAtMs >= attentionEveryMs && this.#keeper.channel) {
        this.#stallSaidAtMs = now;
        this.#events.attention('stalled');
      }
      break;
    }
    this.#pump();
  }
}
