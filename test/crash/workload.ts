/** Generated workloads on the real store, and the model that says what may be read after a crash at any moment. */

import fc from 'fast-check';
import { type DeploymentStore, DiskError } from '../../core/ports.js';
import { type Batch, KIND_DATA } from '../../core/record.js';
import { EMPTY_BATCH } from '../../core/replication/batches.js';
import { withRoom } from '../../core/replication/room.js';
import type { Snapshot } from '../../node-agent/store/checkpoint.js';
import type { LocalDeploymentStore } from '../../node-agent/store/deployment-store.js';
import { Pace } from '../../node-agent/store/pace.js';
import {
  batchOf,
  block,
  content,
  epoch,
  instantClock,
  lookUp,
  order,
  sequence,
  type TestEntry,
} from '../unit/store/support.js';

/** Few, so that they are overwritten all the time. */
export const BLOCKS = 24;

export type Step =
  | { readonly kind: 'write'; readonly entries: readonly WriteEntry[] }
  | { readonly kind: 'backfill'; readonly block: number; readonly length: number; readonly forget: boolean }
  | { readonly kind: 'position'; readonly ahead: number }
  | { readonly kind: 'flush' }
  | { readonly kind: 'update' }
  | { readonly kind: 'settle' }
  | { readonly kind: 'snapshot' }
  /** Of those that are there, counted round. */
  | { readonly kind: 'remove snapshot'; readonly which: number }
  /** `wait`: what follows does not run beside it. */
  | { readonly kind: 'clean'; readonly wait: boolean }
  | { readonly kind: 'reopen' };

export interface WriteEntry {
  readonly block: number;
  /** Bytes of payload; 0: a TRIM of `blocks`. */
  readonly length: number;
  readonly blocks: number;
}

const writeEntry = fc.record({
  block: fc.integer({ min: 0, max: BLOCKS - 4 }),
  length: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 4096 })),
  blocks: fc.integer({ min: 1, max: 4 }),
});

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constant('write' as const),
      entries: fc.array(writeEntry, { minLength: 1, maxLength: 6 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('backfill' as const),
      block: fc.integer({ min: 0, max: BLOCKS - 1 }),
      length: fc.integer({ min: 1, max: 3000 }),
      forget: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('position' as const), ahead: fc.integer({ min: -3, max: 5 }) }),
  },
  { weight: 4, arbitrary: fc.constant({ kind: 'flush' as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'update' as const }) },
  { weight: 3, arbitrary: fc.constant({ kind: 'settle' as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'snapshot' as const }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('remove snapshot' as const), which: fc.nat({ max: 5 }) }),
  },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('clean' as const), wait: fc.boolean() }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'reopen' as const }) },
);

export const workload = fc.array(step, { minLength: 20, maxLength: 60 });

/** What a block holds: its payload, '' for zeroes, undefined if it was never written; and the order. */
export type Cell = { readonly text: string; readonly order: string } | undefined;

/** The deployment after some number of batches. */
export interface Version {
  readonly cells: readonly Cell[];
  readonly last: string;
}

export interface TakenSnapshot {
  /** Batches that it has at the least. */
  readonly least: number;
  /** Whether it is known to be durable. */
  durable: boolean;
  /** Whether its removal was asked for, and whether that is known to be durable. */
  leaving: boolean;
  gone: boolean;
}

/** What the log should amount to, batch by batch, and how much of it must survive. */
export class Model {
  /** `versions[n]`: after n batches. */
  readonly versions: Version[] = [{ cells: new Array<Cell>(BLOCKS).fill(undefined), last: '0/0' }];
  /** Batches that are known to be in the page cache, which outlives the process. */
  written = 0;
  /** Batches that a finished flush covers. */
  flushed = 0;
  /** By id. */
  readonly snapshots = new Map<string, TakenSnapshot>();
  /** Highest epoch whose promise was answered, and the highest that was asked for. */
  promised = 0;
  asked = 0;

  get batches(): number {
    return this.versions.length - 1;
  }

  add(change: (cells: Cell[]) => void, last = this.versions.at(-1)!.last): void {
    const cells = [...this.versions.at(-1)!.cells];
    change(cells);
    this.versions.push({ cells, last });
  }
}

export class Runner {
  readonly model = new Model();
  #version = 0;
  #cleaning: Promise<unknown> = Promise.resolve();

  /** Appends and counts what the store took; a full disk takes nothing. */
  async run(store: LocalDeploymentStore, step: Step): Promise<void> {
    try {
      switch (step.kind) {
        case 'write':
          return await this.#write(store, step.entries);
        case 'backfill':
          return await this.#backfill(store, step);
        case 'position':
          return await this.#position(store, step.ahead);
        case 'flush': {
          const { batches } = this.model;
          await store.flush();
          this.model.flushed = Math.max(this.model.flushed, batches);
          return;
        }
        case 'update': {
          const promised = ++this.model.asked;
          await store.update({ promised: epoch(promised) });
          this.model.promised = promised;
          return;
        }
        case 'snapshot': {
          const taken = { least: this.model.batches, durable: false, leaving: false, gone: false };
          const id = `00000000-0000-4000-8000-${this.model.snapshots.size.toString().padStart(12, '0')}`;
          this.model.snapshots.set(id, taken);
          // It waits for a checkpoint; a store that is closed before takes none.
          store.snapshot(id).then(
            () => {
              taken.durable = true;
            },
            () => {},
          );
          return;
        }
        case 'remove snapshot': {
          const { snapshots } = store;
          const id = snapshots[step.which % snapshots.length]?.id;
          if (id === undefined) return;
          const taken = this.model.snapshots.get(id)!;
          taken.leaving = true;
          store.removeSnapshot(id).then(
            () => {
              taken.gone = true;
            },
            () => {},
          );
          return;
        }
        case 'clean':
          this.#cleaning = this.#cleaning.then(() => store.clean(new Pace(instantClock)));
          if (step.wait) await this.#cleaning;
          return;
        default:
          for (let turn = 0; turn < 12; turn++) await new Promise((resolve) => setImmediate(resolve));
      }
    } catch (error) {
      if (!(error instanceof DiskError && error.code === 'no-space')) throw error;
    }
  }

  /** Has it appended when there is room, and learns when it outlives the process. */
  #append(store: DeploymentStore, batch: Batch, append: () => void): Promise<void> {
    return withRoom(store, batch, () => {
      append();
      const { batches } = this.model;
      store.written().then(
        () => {
          this.model.written = Math.max(this.model.written, batches);
        },
        () => {},
      );
    });
  }

  #write(store: DeploymentStore, list: readonly WriteEntry[]): Promise<void> {
    const version = ++this.#version;
    const entries = list.map(
      (entry): TestEntry =>
        entry.length === 0
          ? { block: entry.block, zero: entry.blocks }
          : { block: entry.block, data: content(entry.block, version, entry.length) },
    );
    const batch = batchOf(...entries);
    return this.#append(store, batch, () => {
      const first = store.last.sequence + 1;
      const e = Math.max(1, store.last.epoch);
      store.append({ epoch: epoch(e), firstSequence: sequence(first), batch });
      this.model.add(
        (cells) => {
          for (const [i, { block: at, length, blocks }] of list.entries()) {
            const cell = {
              text: length === 0 ? '' : content(at, version, length).toString(),
              order: `${e}/${first + i}`,
            };
            for (let b = at; b < at + (length === 0 ? blocks : 1); b++) cells[b] = cell;
          }
        },
        `${e}/${first + list.length - 1}`,
      );
    });
  }

  #backfill(store: DeploymentStore, step: Step & { kind: 'backfill' }): Promise<void> {
    const version = ++this.#version;
    const at = step.block;
    const bytes = content(at, version, step.length);
    const batch = batchOf(step.forget ? { block: at, zero: 1 } : { block: at, data: bytes });
    return this.#append(store, batch, () => {
      store.backfill({ orders: [step.forget ? order(0, 0) : order(900, version)], batch });
      this.model.add((cells) => {
        cells[at] = step.forget ? undefined : { text: bytes.toString(), order: `900/${version}` };
      });
    });
  }

  #position(store: DeploymentStore, ahead: number): Promise<void> {
    return this.#append(store, EMPTY_BATCH, () => {
      const { last } = store;
      const next = order(last.epoch + 1, Math.max(1, last.sequence + ahead));
      store.position(next);
      this.model.add(() => {}, `${next.epoch}/${next.sequence}`);
    });
  }
}

/** What an open store holds, in the model's terms. */
export async function observe(store: DeploymentStore): Promise<Version> {
  const cells: Cell[] = [];
  for (let b = 0; b < BLOCKS; b++) {
    const known = await lookUp(store, b);
    const { orders, batch } = await store.read(block(b), 1);
    const text = known?.kind === KIND_DATA ? batch.payload.toString() : '';
    cells.push(known === undefined ? undefined : { text, order: `${orders[0]!.epoch}/${orders[0]!.sequence}` });
  }
  return { cells, last: `${store.last.epoch}/${store.last.sequence}` };
}

/** What a snapshot holds. */
export async function observeSnapshot(store: LocalDeploymentStore, { id, order: last }: Snapshot): Promise<Version> {
  const cells: Cell[] = [];
  for (let b = 0; b < BLOCKS; b++) {
    const { orders, batch } = await store.readSnapshot(id, [block(b)]);
    const { epoch: e, sequence: s } = orders[0]!;
    cells.push(e === 0 && s === 0 ? undefined : { text: batch.payload.toString(), order: `${e}/${s}` });
  }
  return { cells, last: `${last.epoch}/${last.sequence}` };
}

/** The number of batches after which the deployment looked like this, no fewer than `least`; -1 if never. */
export function versionOf(model: { readonly versions: readonly Version[] }, seen: Version, least: number): number {
  const text = JSON.stringify(seen, replaceUndefined);
  for (let n = model.versions.length - 1; n >= least; n--) {
    if (JSON.stringify(model.versions[n], replaceUndefined) === text) return n;
  }
  return -1;
}

function replaceUndefined(_key: string, value: unknown): unknown {
  return value === undefined ? null : value;
}
