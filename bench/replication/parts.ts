/** The parts of `bench -- replication`. */

import { measureCopies } from './copies.js';
import { type FailoverResult, type FaultKind, measureFailover } from './failover.js';

const MIB = 1024 * 1024;
const FAILOVERS = 50;
const QUICK_FAILOVERS = 3;

export interface PartOptions {
  /** Where the data of all sides is put. */
  readonly place: string;
  readonly quick: boolean;
  /** Of failovers; undefined: as many as the part thinks right. */
  readonly rounds?: number;
  /** Of comparisons with qemu: set-ups and loads whose title contains this. */
  readonly setup: string;
  readonly only: string;
  /** The user wants it to end: long parts do so with what they have. */
  readonly signal: AbortSignal;
  /** Keeps what there is by now, of a part that takes long. */
  readonly keep: (results: object) => void;
}

/** Prints what it finds, and resolves to it. */
export type Part = (options: PartOptions) => Promise<object>;

export const PARTS = {
  kills: (options) => failover('kills', options),
  partitions: (options) => failover('partitions', options),
  copies: ({ place, quick, setup, only }) =>
    measureCopies(place, { rounds: quick ? 3 : 5, seconds: 1, sizeBytes: 128 * MIB, only }, setup),
} as const satisfies Readonly<Record<string, Part>>;

async function failover(kind: FaultKind, { place, quick, rounds, signal, keep }: PartOptions): Promise<object> {
  const wanted = rounds ?? (quick ? QUICK_FAILOVERS : FAILOVERS);
  const told = (sofar: FailoverResult): void => {
    const seconds = ((sofar.each.at(-1) ?? 0) / 1000).toFixed(2);
    console.log(`  ${sofar.rounds} of ${wanted}: ${seconds} s${sofar.errors > 0 ? `, ${sofar.errors} errors` : ''}`);
    keep(sofar);
  };
  const result = await measureFailover({ kind, rounds: wanted, place, signal, told });
  const { pauseMs, writePauseMs, errors, goal } = result;
  const reached = pauseMs.median <= goal.median && pauseMs.max <= goal.max && errors === 0;
  console.table({ 'no answer, ms': pauseMs, 'no write, ms': writePauseMs, 'goal, ms': goal });
  console.log(`${errors} errors; goal ${reached ? 'reached' : 'missed'}`);
  return result;
}
