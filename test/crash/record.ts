/** What a long run of the crash tests leaves behind: `npm run crash -- --json DIR` (test/setup/run-record.ts). */

import { join } from 'node:path';
import { appendRun, type Run } from '../setup/run-record.js';

const DIRECTORY = process.env.CRASH_JSON;

/** Runs the test, and appends its counts to `<kind>.jsonl` if that is asked for, whether it passed or not. */
export async function recorded(
  kind: Run['kind'],
  command: string,
  test: (counts: Record<string, number>) => Promise<void>,
): Promise<void> {
  const counts: Record<string, number> = {};
  const began = performance.now();
  const cpu = process.cpuUsage();
  let failures = 1;
  try {
    await test(counts);
    failures = 0;
  } finally {
    if (DIRECTORY !== undefined && DIRECTORY !== '') {
      const { user, system } = process.cpuUsage(cpu);
      const seconds = Math.round((performance.now() - began) / 1000);
      const cpuSeconds = Math.round((user + system) / 1e6);
      appendRun(join(DIRECTORY, `${kind}.jsonl`), { kind, command, seconds, cpuSeconds, counts, failures });
    }
  }
}
