/** The file `pages` of a deployment: pages in slots, read one by one and kept in memory, written in runs. */

import { type Disk, DiskError } from '../../../core/ports.js';
import { type Damage, IndexDamageError } from '../errors.js';
import type { FilePool, PooledFile } from '../file-pool.js';
import type { StoreIdentity } from '../format.js';
import type { PageCache } from './index-memory.js';
import { decodePage, decodePageOf, encodePage, PAGE_BYTES, Page, type PagePointer, type Rows } from './page.js';
import { Slots } from './slots.js';

/** Pages that are written at once if they lie side by side. */
const RUN_PAGES = 64;
/** A page that can't be read, or is not what it should be, is read again before it counts as damaged: buses err, too. */
const READ_ATTEMPTS = 3;

export interface PageFileOptions {
  readonly disk: Disk;
  readonly pool: FilePool;
  readonly directory: string;
  readonly identity: StoreIdentity;
  readonly cache: PageCache;
  /** Rows of a page at the most; less than what fits makes trees high in tests. */
  readonly maxRows: number;
}

export class PageFile {
  readonly path: string;
  readonly maxRows: number;
  readonly #options: PageFileOptions;
  slots = new Slots();
  #run: Buffer[] = [];
  #runSlot = 0;
  /** Changes of the file, one after the other; what they hold in memory is bounded by what a checkpoint brings in. */
  #changes: Promise<void> = Promise.resolve();
  #exists = false;
  /** Held from the first write to the sync: a file that was closed and opened again might not tell of an error between. */
  #unsynced: PooledFile | undefined;

  constructor(options: PageFileOptions) {
    this.#options = options;
    this.path = `${options.directory}/pages`;
    this.maxRows = options.maxRows;
  }

  /** If it is in memory. */
  cached({ slot, checkpoint }: PagePointer): Page | undefined {
    return this.#options.cache.get(slot, checkpoint);
  }

  /** `PageCache.evictions`. */
  get evictions(): number {
    return this.#options.cache.evictions;
  }

  isCached({ slot, checkpoint }: PagePointer): boolean {
    return this.#options.cache.has(slot, checkpoint);
  }

  /** Reads the page, and keeps it in memory. Errors: IndexDamageError. */
  async load(pointer: PagePointer): Promise<Page> {
    const page = this.cached(pointer) ?? (await this.read(pointer));
    if (!this.isCached(pointer)) this.#options.cache.put(pointer.slot, page);
    return page;
  }

  /**
   * Reads the page from the file. Errors: IndexDamageError, after several attempts; DiskError if the file can't even
   * be opened, for want of descriptors perhaps, which says nothing of the page.
   */
  async read(pointer: PagePointer): Promise<Page> {
    const { identity } = this.#options;
    const page = await this.#read(pointer.slot, (bytes) => decodePage(bytes, identity, pointer));
    if (typeof page !== 'string') return page;
    throw new IndexDamageError(this.#damage(pointer.slot * PAGE_BYTES, page));
  }

  /** Whichever page is in the slot; undefined if it is damaged. Errors: like `read`. */
  async readSlot(slot: number): Promise<Page | undefined> {
    const { identity } = this.#options;
    const page = await this.#read(slot, (bytes) => decodePageOf(bytes, identity, slot));
    return typeof page === 'string' ? undefined : page;
  }

  async #read(slot: number, decode: (bytes: Buffer) => Page | string): Promise<Page | string> {
    const offset = slot * PAGE_BYTES;
    const pooled = await this.#open();
    const { file } = pooled;
    let outcome: Page | string = '';
    try {
      for (let attempt = 0; attempt < READ_ATTEMPTS && typeof outcome === 'string'; attempt++) {
        const bytes = Buffer.allocUnsafeSlow(PAGE_BYTES);
        const cached = attempt === 0 && file.readCached(bytes, offset);
        const count = cached ? bytes.length : await file.readAsync(bytes, offset).catch(unlessUnreadable);
        outcome = typeof count === 'string' ? count : decode(bytes.subarray(0, count));
      }
      return outcome;
    } finally {
      this.#options.pool.release(pooled);
    }
  }

  /** A file that is gone is as bad as one of which all pages are. */
  async #open(): Promise<PooledFile> {
    try {
      return await this.#options.pool.acquireAsync(this.path);
    } catch (error) {
      if (error instanceof DiskError && error.code === 'not-found')
        throw new IndexDamageError(this.#damage(0, error.message));
      throw error;
    }
  }

  #damage(offset: number, what: string): Damage {
    return { path: this.path, offset, what };
  }

  /** Writes a page of the rows [from, to) into a free slot, in the page cache at the latest when `sync` is called. */
  write(rows: Rows, from: number, to: number, checkpoint: number, keep: boolean): PagePointer {
    const slot = this.slots.take();
    const bytes = encodePage(rows, from, to, this.#options.identity, slot, checkpoint);
    if (slot !== this.#runSlot + this.#run.length || this.#run.length >= RUN_PAGES) this.#handOver();
    if (this.#run.length === 0) this.#runSlot = slot;
    this.#run.push(bytes);
    if (keep) this.#options.cache.put(slot, new Page(bytes));
    return { slot, checkpoint, level: rows.level };
  }

  #handOver(): void {
    const run = this.#run;
    if (run.length === 0) return;
    const position = this.#runSlot * PAGE_BYTES;
    this.#run = [];
    this.#next(async () => {
      this.#unsynced ??= await this.#options.pool.acquireAsync(this.path, { create: true });
      await this.#unsynced.file.writeAsync(run, position);
    });
  }

  /** Behind a change that has failed there is none until `flush` or `discard` has told of it. */
  #next(change: () => Promise<void>): void {
    this.#changes = this.#changes.then(change);
    this.#changes.catch(() => {});
  }

  /** What was written is in the page cache when it resolves. Errors: DiskError 'no-space' and others. */
  async flush(): Promise<void> {
    this.#handOver();
    const changes = this.#changes;
    this.#changes = changes.catch(() => {});
    await changes;
  }

  /** What was written is durable when it resolves. */
  async sync(): Promise<void> {
    await this.flush();
    const { disk, pool, directory } = this.#options;
    const pooled = this.#unsynced ?? (await pool.acquireAsync(this.path, { create: true }));
    this.#unsynced = undefined;
    try {
      await pooled.file.sync();
      if (!this.#exists) await disk.syncDirectory(directory);
      this.#exists = true;
    } finally {
      pool.release(pooled);
    }
  }

  /** What a failed checkpoint was about to write is not wanted any more; nothing of it comes when it resolves. */
  async discard(): Promise<void> {
    this.#run = [];
    this.#changes = this.#changes.catch(() => {});
    await this.#changes;
  }

  #letGo(): void {
    if (this.#unsynced !== undefined) this.#options.pool.release(this.#unsynced);
    this.#unsynced = undefined;
  }

  /** Begins anew: nothing of the file is wanted. */
  reset(): void {
    const { disk, pool } = this.#options;
    this.#letGo();
    pool.forget(this.path);
    this.#next(() =>
      disk.unlinkAsync(this.path).catch((error: unknown) => {
        if (!(error instanceof DiskError && error.code === 'not-found')) throw error;
      }),
    );
  }

  /** Cuts off what lies behind the last slot in use. */
  async trim(): Promise<void> {
    const { pool } = this.#options;
    const bytes = this.slots.length * PAGE_BYTES;
    const pooled = await pool.acquireAsync(this.path, { create: true });
    try {
      if (pooled.file.size() > bytes) await pooled.file.truncateAsync(bytes);
    } finally {
      pool.release(pooled);
    }
  }

  close(): void {
    this.#letGo();
    this.#options.pool.forget(this.path);
    this.#options.cache.clear();
  }
}

/** A place that can't be read; what is wrong with it. */
function unlessUnreadable(error: unknown): string {
  if (error instanceof DiskError) return error.message;
  throw error;
}
