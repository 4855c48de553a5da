/**
 * What a sync sends: the target's dead blocks, then everything newer than what it has, in pieces of the volume of
 * which several are on their way at a time, and marks that say how far all of them have come (sync-regions.ts).
 */

import { type SyncReady, VERSION_WITH_MARKS } from '../messages.js';
import type { StoredBlocks, SyncedRegion } from '../ports.js';
import { KIND_ZERO, release } from '../record.js';
import type { BlockNumber, Sequence } from '../types.js';
import { blocksPerBatch } from './batches.js';
import { rangesToCopy, type SyncRange } from './sync-regions.js';
import type { SyncSource } from './sync-source.js';

/** Blocks that are looked for at once, in pieces. */
const PIECES_PER_SEARCH = 16;
/** Blocks of one message at the least: shorter ones cost more than they hold up. */
const MIN_PER_PIECE = 16;
/** Blocks that are counted in one turn. */
const COUNT_CHUNK = 65_536;

/** Blocks that are sent in one message, and where the volume goes on behind them. */
interface Piece {
  readonly blocks: readonly BlockNumber[];
  readonly below: BlockNumber;
}

export class SyncCopy {
  readonly #sync: SyncSource;
  readonly #ready: SyncReady;
  readonly #ranges: readonly SyncRange[];
  /** The live stream to the target begins behind this: blocks that changed later come with it. */
  readonly #streamAfter: Sequence;
  /** Of one message, at the most. */
  readonly #maxPerPiece: number;
  #sent = 0;
  /** Of the target's dead blocks, how many it has told of. */
  #deadKnown: number;
  /** Of the blocks that are newer than what the target has; undefined until they are counted. */
  #newerKnown: number | undefined;
  #marking = false;
  #markedAt: number;

  constructor(sync: SyncSource, ready: SyncReady, regions: readonly SyncedRegion[], streamAfter: Sequence) {
    const { store, clock, settings } = sync.primary.context;
    this.#sync = sync;
    this.#ready = ready;
    this.#ranges = rangesToCopy(regions, ready.base.sequence, store.state.blocks);
    this.#streamAfter = streamAfter;
    this.#maxPerPiece = Math.min(blocksPerBatch(store.state.blockSize), settings.backfillBlocks);
    this.#deadKnown = ready.dead.length;
    this.#markedAt = clock.now();
  }

  /** Blocks of one message at the present pace. */
  get #perPiece(): number {
    const { context, pace } = this.#sync.primary;
    const paced = Math.floor(pace.pieceBytes / context.store.state.blockSize);
    return Math.min(this.#maxPerPiece, Math.max(MIN_PER_PIECE, paced));
  }

  /** `zeroesFirst`: what gives the target space goes before what takes some. */
  async run(zeroesFirst: boolean): Promise<void> {
    this.#sync.note({ kind: this.#ready.base.sequence === 0 ? 'full' : 'delta' });
    // How much there is to do is for those who watch: no piece waits for it.
    await Promise.all([this.#count(), this.#copyAll(zeroesFirst)]);
  }

  async #copyAll(zeroesFirst: boolean): Promise<void> {
    if (zeroesFirst) await this.#inParallel(this.#newer(), ({ blocks }) => this.#sendZeroes(blocks));
    await this.#inParallel(this.#dead(), ({ blocks }) => this.#copy(blocks, Number.POSITIVE_INFINITY));
    /** Pieces on their way, in the order of their blocks. */
    const open: Piece[] = [];
    const done = new Set<Piece>();
    await this.#inParallel(this.#newer(), async (piece) => {
      open.push(piece);
      await this.#copy(piece.blocks, this.#streamAfter);
      done.add(piece);
      let below: BlockNumber | undefined;
      for (let first = open[0]; first !== undefined && done.delete(first); first = open[0]) {
        below = first.below;
        open.shift();
      }
      if (below !== undefined) this.#mark(below);
    });
  }

  /** `use` is begun for the pieces in their order, for several at a time. */
  async #inParallel(pieces: AsyncGenerator<Piece, void>, use: (piece: Piece) => Promise<void>): Promise<void> {
    const { syncParallel } = this.#sync.primary.context.settings;
    const lane = async (): Promise<void> => {
      for (;;) {
        const { value: piece, done } = await pieces.next();
        if (done) return;
        await use(piece);
      }
    };
    await Promise.all(Array.from({ length: syncParallel }, lane));
  }

  async *#newer(): AsyncGenerator<Piece, void> {
    const { store } = this.#sync.primary.context;
    const limit = PIECES_PER_SEARCH * this.#maxPerPiece;
    for (const { from: start, below, after } of this.#ranges) {
      for (let from = start; from < below; ) {
        const found = await this.#sync.orAborted(store.newerThan(after, from, limit));
        const blocks = found.filter((block) => block < below);
        const all = found.length < limit || blocks.length < found.length;
        from = all ? below : nextOf(blocks);
        yield* this.#pieces(blocks, from);
      }
    }
  }

  async *#dead(): AsyncGenerator<Piece, void> {
    const { store } = this.#sync.primary.context;
    let { dead, nextDead } = this.#ready;
    for (;;) {
      yield* this.#pieces(
        dead.filter((block) => block < store.state.blocks),
        0 as BlockNumber,
      );
      if (nextDead === undefined) return;
      ({ dead, nextDead } = await this.#sync.askDead(nextDead));
      this.#deadKnown += dead.length;
      this.#noteTotal();
    }
  }

  *#pieces(blocks: readonly BlockNumber[], end: BlockNumber): Generator<Piece> {
    for (let at = 0; at < blocks.length; ) {
      const piece = blocks.slice(at, at + this.#perPiece);
      at += piece.length;
      yield { blocks: piece, below: at < blocks.length ? nextOf(piece) : end };
    }
  }

  #noteTotal(): void {
    if (this.#newerKnown !== undefined) this.#sync.note({ blocksTotal: this.#newerKnown + this.#deadKnown });
  }

  async #count(): Promise<void> {
    const { store } = this.#sync.primary.context;
    let count = 0;
    for (const { from: start, below, after } of this.#ranges) {
      for (let from = start; from < below; ) {
        const found = await this.#sync.orAborted(store.newerThan(after, from, COUNT_CHUNK));
        const inside = found.filter((block) => block < below).length;
        count += inside;
        if (found.length < COUNT_CHUNK || inside < found.length) break;
        from = nextOf(found);
        // Other work goes on in between.
        await this.#sync.pause(0);
      }
    }
    this.#newerKnown = count;
    this.#noteTotal();
  }

  /** Of these blocks, those that are zeroes; they are sent once more among all, which changes nothing then. */
  async #sendZeroes(blocks: readonly BlockNumber[]): Promise<void> {
    const { store } = this.#sync.primary.context;
    const zeroes = await this.#sync.orAborted(
      store.look(blocks, (lookup) => blocks.filter((block) => lookup(block)?.kind === KIND_ZERO)),
    );
    await this.#send(zeroes, this.#streamAfter);
  }

  async #copy(blocks: readonly BlockNumber[], liveAfter: number): Promise<void> {
    await this.#send(blocks, liveAfter);
    this.#sync.note({ blocksDone: this.#sync.progress.blocksDone + blocks.length });
  }

  /** Sends these blocks, one message; those that changed behind `liveAfter` come with the stream anyway. */
  async #send(blocks: readonly BlockNumber[], liveAfter: number): Promise<void> {
    const sync = this.#sync;
    const { primary, stream } = sync;
    const { store } = primary.context;
    const wanted = await sync.orAborted(
      store.look(blocks, (lookup) => blocks.filter((block) => (lookup(block)?.order.sequence ?? 0) <= liveAfter)),
    );
    if (wanted.length === 0) return;
    const stored = await sync.read(wanted);
    let answered: Promise<void>;
    try {
      const waitMs = primary.pace.take(stored.batch.entries.length + stored.batch.payload.length);
      if (waitMs > 0) await sync.pause(waitMs);
      ({ answered } = await sync.untilNot(
        () => !stream.current,
        () => {
          const answered = this.#backfill(stored);
          // If the sync ends before anybody awaits it.
          answered.catch(() => {});
          return { answered };
        },
      ));
    } finally {
      release(stored.batch);
    }
    await answered;
  }

  async #backfill(stored: StoredBlocks): Promise<void> {
    const sync = this.#sync;
    const { counters } = sync.primary.context;
    const bytes = stored.batch.payload.length;
    counters.backfilledBytes += bytes;
    await sync.backfill(++this.#sent, stored);
    sync.note({ bytesCopied: sync.progress.bytesCopied + bytes });
  }

  /** Has the target remember that everything below is there, if that is worth it. One mark at a time. */
  #mark(below: BlockNumber): void {
    const { context } = this.#sync.primary;
    const { clock, settings, links } = context;
    if (this.#marking || clock.now() - this.#markedAt < settings.syncMarkMs) return;
    const node = context.nodeOf(this.#sync.target);
    if (node === undefined || links.version(node) < VERSION_WITH_MARKS) return;
    this.#marking = true;
    this.#awaitMark(below).then(
      () => {
        this.#marking = false;
        this.#markedAt = clock.now();
      },
      // The sync has ended meanwhile.
      () => {},
    );
  }

  /** A block that was passed over, as it had changed, must be there with the stream before it counts as copied [6c]. */
  async #awaitMark(below: BlockNumber): Promise<void> {
    const { stream, primary } = this.#sync;
    const { settings, store } = primary.context;
    const { sequence } = store.last;
    while (!stream.current || stream.acked < sequence) await this.#sync.pause(settings.tickMs);
    await this.#sync.mark(below);
  }
}

function nextOf(blocks: readonly BlockNumber[]): BlockNumber {
  return (blocks[blocks.length - 1]! + 1) as BlockNumber;
}
