/** What the benchmarks of the data path have in common on their command lines. */

import { tmpdir } from 'node:os';
import { parseArgs } from 'node:util';
import type { Effort } from './data-path/against-qemu.js';

export interface BenchOptions {
  /** Where the data of both sides is put. */
  readonly place: string;
  readonly effort: Effort;
  /** Only set-ups whose title contains this. */
  readonly setup: string;
  readonly has: (flag: string) => boolean;
}

/** Reads this process's arguments. `--quick`: fewer and shorter rounds; `--setup TEXT`, `--only TEXT`: titles and loads that have it. */
export function options({ sizeBytes }: { sizeBytes: number }): BenchOptions {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      quick: { type: 'boolean', default: false },
      only: { type: 'string', default: '' },
      setup: { type: 'string', default: '' },
      alone: { type: 'boolean', default: false },
      volumes: { type: 'boolean', default: false },
    },
  });
  const { quick, only, setup } = values;
  return {
    place: positionals[0] ?? tmpdir(),
    effort: { rounds: quick ? 3 : 5, seconds: quick ? 1 : 2, sizeBytes, only },
    setup,
    has: (flag) => (values as Record<string, unknown>)[flag.replace(/^--/, '')] === true,
  };
}
