/** Waits until its parent has ended, and removes the directories that are its arguments (scratch.ts). */

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** Processes of the run that end at the same time may still write. */
const ATTEMPTS = 60;
const PAUSE_MS = 500;

const roots = process.argv.slice(2);

/** @param {string} path */
const isBelow = (path) => roots.some((root) => path.startsWith(`${root}/`));

function unmount() {
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n');
  const points = mounts.map((line) => (line.split(' ')[1] ?? '').replaceAll('\\040', ' ')).filter(isBelow);
  for (const point of points.reverse()) spawnSync('umount', ['--lazy', point], { stdio: 'ignore' });
}

function detachLoops() {
  const { stdout } = spawnSync('losetup', ['--list', '--noheadings', '--output', 'NAME,BACK-FILE'], {
    encoding: 'utf8',
  });
  for (const line of (stdout ?? '').split('\n')) {
    const [device, file] = line.trim().split(/\s+/);
    if (device !== undefined && file !== undefined && isBelow(file)) spawnSync('losetup', ['--detach', device]);
  }
}

process.stdin.resume();
await new Promise((resolve) => {
  process.stdin.once('close', resolve);
  process.stdin.once('error', resolve);
});
for (let attempt = 1; roots.some((root) => existsSync(root)); attempt++) {
  unmount();
  detachLoops();
  for (const root of roots) {
    try {
      rmSync(root, { recursive: true, force: true });
    } catch (error) {
      if (attempt === ATTEMPTS) process.stderr.write(`${root} is left behind: ${error}\n`);
    }
  }
  if (attempt === ATTEMPTS) break;
  await sleep(PAUSE_MS);
}
