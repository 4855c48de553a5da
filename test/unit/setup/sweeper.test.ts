import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';

const SWEEPER = fileURLToPath(new URL('../../setup/sweeper.mjs', import.meta.url));

let root: string;
let mounted: string | undefined;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'swept-'));
});

afterEach(() => {
  if (mounted !== undefined) spawnSync('umount', ['--lazy', mounted], { stdio: 'ignore' });
  mounted = undefined;
  rmSync(root, { recursive: true, force: true });
});

it('what a run leaves goes when the runner has ended, and not before', async () => {
  mkdirSync(join(root, 'cluster'));
  writeFileSync(join(root, 'cluster', 'file'), 'text');
  if (process.getuid?.() === 0) {
    mounted = join(root, 'mounted here');
    mkdirSync(mounted);
    expect(spawnSync('mount', ['-t', 'tmpfs', 'tmpfs', mounted]).status).toBe(0);
  }
  // The runner: its end closes the sweeper's standard input.
  const sweeper = spawn(process.execPath, [SWEEPER, root], { stdio: ['pipe', 'ignore', 'pipe'] });
  const ended = new Promise((resolve) => sweeper.once('close', resolve));
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(existsSync(join(root, 'cluster', 'file'))).toBe(true);
  sweeper.stdin.end();
  expect(await ended).toBe(0);
  expect(existsSync(root)).toBe(false);
});
