/**
 * SIGKILL at random moments of a real process that writes to a real file system. The page cache survives, so
 * nothing that an append has returned for may be missing.
 *
 * For longer: npm run crash -- --kills 200
 */

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, it } from 'vitest';
import { KIND_DATA, readEntry } from '../../core/record.js';
import { systemClock, systemRandom } from '../../node-agent/clock.js';
import { openFileDisk } from '../../node-agent/store/index.js';
import { startModule } from '../setup/module-process.js';
import { block, DEPLOYMENT, lookUp, newDeployment, openStores } from '../unit/store/support.js';
import { contentsAt, KILL_BLOCKS, KILL_SETTINGS } from './kill-9-plan.js';
import { recorded } from './record.js';

const ROUNDS = Number(process.env.KILL_ROUNDS ?? 6);
const CHILD = new URL('kill-9-child.ts', import.meta.url);

const cleanUps: (() => void)[] = [];
afterEach(() => {
  for (const cleanUp of cleanUps.splice(0).reverse()) cleanUp();
});

function startWriter(root: string): ChildProcess {
  const child = startModule(CHILD, [], { KILL_9_ROOT: root });
  cleanUps.push(() => child.kill('SIGKILL'));
  return child;
}

/** Kills the writer some time after its first word; returns the last sequence that it told. */
async function killSome(root: string, delayMs: number): Promise<number> {
  const told = join(root, 'told');
  rmSync(told, { force: true });
  const child = startWriter(root);
  const closed = once(child, 'close');
  while (child.exitCode === null && readTold(told) === 0) await sleep(5);
  await sleep(delayMs);
  child.kill('SIGKILL');
  const [, signal] = await closed;
  expect(signal).toBe('SIGKILL');
  return readTold(told);
}

/** 0 as long as nothing was told. */
function readTold(path: string): number {
  return existsSync(path) ? Number(readFileSync(path, 'utf8').trim()) : 0;
}

it(`loses nothing that was appended, ${ROUNDS} times`, () =>
  recorded('kill-9', `npm run crash -- --states 0 --kills ${ROUNDS}`, killAndCompare));

async function killAndCompare(counts: Record<string, number>): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), 'store-kill-9-'));
  cleanUps.push(() => rmSync(root, { recursive: true, force: true }));
  const open = () =>
    openStores(openFileDisk(root), { clock: systemClock, random: systemRandom, settings: KILL_SETTINGS });
  const created = await open();
  await created.create({ ...newDeployment, blocks: KILL_BLOCKS });
  await created.close();
  for (let round = 0; round < ROUNDS; round++) {
    const told = await killSome(root, 20 + Math.random() * 400);
    expect(told).toBeGreaterThan(0);
    const stores = await open();
    const store = await stores.open(DEPLOYMENT);
    expect(store.state.unclean).toBe(false);
    expect(store.damages).toEqual([]);
    expect(store.last.sequence).toBeGreaterThanOrEqual(told);
    const expected = contentsAt(store.last.sequence);
    for (let b = 0; b < KILL_BLOCKS; b++) {
      const { batch } = await store.read(block(b), 1);
      const known = (await lookUp(store, b)) !== undefined;
      const text = readEntry(batch.entries, 0).kind === KIND_DATA ? batch.payload.toString() : '';
      expect(known ? text : undefined, `block ${b} after ${store.last.sequence}`).toBe(expected.get(b));
    }
    await stores.close();
    counts.kills = round + 1;
    counts.entries = store.last.sequence;
  }
}
