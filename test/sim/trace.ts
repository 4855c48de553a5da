/** What is told of a simulation while it runs: one line for each thing that happens. */

import type { Batch } from '../../core/record.js';
import { entryCount, readEntry } from '../../core/record.js';

export interface TraceLine {
  /** Virtual milliseconds. */
  readonly at: number;
  readonly who: string;
  readonly what: string;
  readonly fields?: Readonly<Record<string, unknown>>;
  /** Number of the volume that it is about; absent: of none or of all. */
  readonly volume?: number;
  /** Blocks that it is about, as ranges; absent: of none or of all. */
  readonly blocks?: readonly BlockRange[];
}

export interface BlockRange {
  readonly first: number;
  readonly blocks: number;
}

export interface TraceFilter {
  readonly volume?: number;
  readonly block?: number;
}

/** Whether a line says something about what is looked for; what is about everything always does. */
export function matches({ volume, blocks }: TraceLine, filter: TraceFilter): boolean {
  if (filter.volume !== undefined && volume !== undefined && volume !== filter.volume) return false;
  const { block } = filter;
  if (block === undefined || blocks === undefined) return true;
  return blocks.some((range) => block >= range.first && block < range.first + range.blocks);
}

export function formatLine({ at, who, what, fields, volume }: TraceLine): string {
  const about = volume === undefined ? '  ' : `v${volume}`;
  return `${at.toFixed(2).padStart(11)} ${about} ${who.padEnd(12)} ${what}${fields === undefined ? '' : ` ${text(fields)}`}`;
}

export function text(fields: Readonly<Record<string, unknown>>): string {
  return JSON.stringify(fields, (_, value: unknown) => (value instanceof Error ? value.stack : value));
}

/** The blocks of a batch. */
export function rangesOf(batch: Batch): BlockRange[] {
  return Array.from({ length: entryCount(batch) }, (_, i) => {
    const { block, blocks } = readEntry(batch.entries, i);
    return { first: block, blocks };
  });
}

/** Fields of a message that tell it from others, without its payload. */
export function summaryOf(message: object): { fields: Record<string, unknown>; blocks?: readonly BlockRange[] } {
  const { batch, history, ...rest } = message as { batch?: Batch; history?: readonly unknown[] };
  const fields: Record<string, unknown> = { ...rest };
  if (history !== undefined) fields.history = history.length;
  if (batch === undefined) return { fields };
  const blocks = rangesOf(batch);
  fields.blocks = blocks
    .map((range) => (range.blocks === 1 ? range.first : `${range.first}+${range.blocks}`))
    .join(',');
  return { fields, blocks };
}
