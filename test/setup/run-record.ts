/**
 * What a long run leaves in the tree: a line of JSON in `docs/reliability/<kind>.jsonl`, from which `npm run
 * reliability` makes docs/reliability.md.
 */

import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';

/** In the order in which they are shown. */
export const RUN_KINDS = [
  'simulation',
  'walks',
  'mutations',
  'scopes',
  'model',
  'crash-points',
  'kill-9',
  'corruption',
  'fuzz',
  'faults',
  'soak',
  'states',
  'failover',
] as const;

const cell = z.union([z.string(), z.number()]);

export const runRecordSchema = z.strictObject({
  kind: z.enum(RUN_KINDS),
  /** How to do the same again. */
  command: z.string().min(1),
  /** Of the code that ran, seven digits or more; 'unknown' where there was no repository. */
  commit: z.string().min(1),
  /** RFC 3339, the end of the run. */
  at: z.iso.datetime(),
  /** Of the clock on the wall. */
  seconds: z.number().nonnegative(),
  /** Of all processors together. */
  cpuSeconds: z.number().nonnegative().optional(),
  /** Summed over all runs of the kind; the names are words in camel case. */
  counts: z.record(z.string(), z.int().nonnegative()),
  /** Seeds, rounds or states of this run that failed. */
  failures: z.int().nonnegative(),
  /** The newest one with this title is shown, or, with `merge`, all of them as one. */
  table: z
    .strictObject({
      title: z.string(),
      columns: z.array(z.string()),
      rows: z.array(z.array(cell)),
      /** How rows with the same first cell become one, for each further column; `sum` and `max` are of numbers. */
      merge: z.array(z.enum(['sum', 'max', 'newest'])).optional(),
    })
    .refine(({ columns, rows }) => rows.every((row) => row.length === columns.length), 'rows as long as columns')
    .refine(({ columns, merge }) => merge === undefined || merge.length === columns.length - 1, 'a way for each column')
    .optional(),
});

export type RunRecord = z.infer<typeof runRecordSchema>;
export type Run = Omit<RunRecord, 'commit' | 'at'>;

/** STORAGEOS_COMMIT says it where the code is a copy without its repository. */
function commitId(): string {
  if (process.env.STORAGEOS_COMMIT) return process.env.STORAGEOS_COMMIT;
  try {
    const cwd = fileURLToPath(new URL('.', import.meta.url));
    return execFileSync('git', ['rev-parse', '--short=7', 'HEAD'], { cwd, encoding: 'utf8', stdio: 'pipe' }).trim();
  } catch {
    return 'unknown';
  }
}

/** Measures from now on: on the wall, and what all threads of this process together have used of processors. */
export function stopwatch(): () => Required<Pick<Run, 'seconds' | 'cpuSeconds'>> {
  const startedAt = performance.now();
  const before = process.cpuUsage();
  return () => {
    const { user, system } = process.cpuUsage(before);
    return { seconds: (performance.now() - startedAt) / 1000, cpuSeconds: (user + system) / 1e6 };
  };
}

/** Appends the run to the file, which is made if it is not there. Errors: those of the file, and of zod. */
export function appendRun(file: string, run: Run): void {
  const record = runRecordSchema.parse({ ...run, commit: commitId(), at: new Date().toISOString() });
  mkdirSync(dirname(file), { recursive: true });
  appendFileSync(file, `${JSON.stringify(record)}\n`);
}
