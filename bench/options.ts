/** What the benchmarks of the data path have in common on their command lines. */

import { tmpdir } from 'node:os';
import { parseArgs } from 'node:util';
import type { Effort } from './data-path/against-qemu.js';

export interface BenchOptions {
  /** Where the data of both sides is put. */
  readonly place: string;
  readonly effort: Effort;
  readonly quick: boolean;
  /** Only set-ups whose title contains this. */
  readonly setup: string;
  /** The one part that is wanted; empty: all. */
  readonly part: string;
}

/** Reads this process's arguments. `--quick`: fewer and shorter rounds; `--setup TEXT`, `--only TEXT`: titles and loads that have it. */
export function options({ sizeBytes }: { sizeBytes: number }): BenchOptions {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      quick: { type: 'boolean', default: false },
      only: { type: 'string', default: '' },
      setup: { type: 'string', default: '' },
      part: { type: 'string', default: '' },
    },
  });
  const { quick, only, setup, part } = values;
  return {
    place: positionals[0] ?? tmpdir(),
    effort: { rounds: quick ? 3 : 5, seconds: quick ? 0.5 : 1, runUpSeconds: quick ? 0 : 0.5, sizeBytes, only },
    quick,
    setup,
    part,
  };
}
