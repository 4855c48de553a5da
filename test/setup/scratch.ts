/**
 * Everything temporary of a run is below two directories, one for small things and one on a disk. They go when the
 * runner ends, however it ends: a process of their own waits for that, unmounts what is still mounted there, and
 * removes them. STORAGEOS_TEST_KEEP=1 keeps them for looking at what failed.
 */

import { spawn } from 'node:child_process';
import { chmodSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Like /tmp: programs of other users are among the tests. */
const MODE = 0o1777;

/** A program without a compiled form. */
const SWEEPER = new URL(
  import.meta.url.endsWith('.ts') ? './sweeper.mjs' : '../../../test/setup/sweeper.mjs',
  import.meta.url,
);

/** Once for a run; each of vitest's projects asks. */
export function provideScratch(): void {
  if (process.env.STORAGEOS_SCRATCH !== undefined) return;
  const roots = [tmpdir(), '/var/tmp'].map((place) => {
    const root = mkdtempSync(join(place, 'storageos-run-'));
    chmodSync(root, MODE);
    return root;
  });
  [process.env.TMPDIR, process.env.STORAGEOS_SCRATCH] = roots;
  if (process.env.STORAGEOS_TEST_KEEP === '1') return;
  const sweeper = spawn(process.execPath, [fileURLToPath(SWEEPER), ...roots], {
    // Ctrl-C in the terminal is not for it.
    detached: true,
    stdio: ['pipe', 'ignore', 'inherit'],
    cwd: '/',
  });
  sweeper.unref();
  // The pipe's end is what it waits for.
  (sweeper.stdin as unknown as { unref(): void }).unref();
}
