import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Disk, DiskError } from '../../../core/ports.js';
import { openFileDisk } from '../../../node-agent/store/index.js';
import { SimDisk } from '../../sim/sim-disk.js';
import { seeded } from './support.js';

const failure = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(DiskError);
    return (error as DiskError).code;
  }
  return 'none';
};

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'store-disk-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

/** The simulated disk has to behave like the real one. */
describe.each([
  ['the real disk', () => openFileDisk(root)],
  ['the simulated disk', () => new SimDisk({ random: seeded(1) }).mount()],
] as const)('%s', (_name, make) => {
  let disk: Disk;
  beforeEach(() => {
    disk = make();
  });

  it('writes, reads, grows and cuts files', async () => {
    disk.makeDirectory('a');
    const file = disk.open('a/f', { create: true });
    file.write([Buffer.from('abc'), Buffer.alloc(0), Buffer.from('defg')], 2);
    expect(file.size()).toBe(9);
    await file.sync();
    await disk.syncDirectory('a');
    const buffer = Buffer.alloc(20, 1);
    expect(file.read(buffer, 1)).toBe(8);
    expect(buffer.toString('latin1', 0, 8)).toBe('\0abcdefg');
    expect(await file.readAsync(buffer.subarray(0, 4), 3)).toBe(4);
    expect(buffer.toString('latin1', 0, 4)).toBe('bcde');
    expect(await file.readAsync(buffer, 9)).toBe(0);
    file.truncate(4);
    file.truncate(6);
    expect(file.read(buffer, 0)).toBe(6);
    expect(buffer.toString('latin1', 0, 6)).toBe('\0\0ab\0\0');
    file.close();
    expect(disk.open('a/f', { create: true }).size()).toBe(6);
    const { totalBytes, freeBytes } = disk.space('a');
    expect(freeBytes).toBeLessThanOrEqual(totalBytes);
    expect(disk.space('').fileSystem).toBe(disk.space('a').fileSystem);
  });

  it('renames and removes, and says what is wrong', async () => {
    expect(failure(() => disk.open('f', { create: false }))).toBe('not-found');
    expect(failure(() => disk.list('d'))).toBe('not-found');
    disk.makeDirectory('d');
    expect(failure(() => disk.makeDirectory('d'))).toBe('exists');
    disk.open('d/f', { create: true }).close();
    expect(failure(() => disk.removeDirectory('d'))).toBe('exists');
    disk.rename('d', 'e');
    expect(disk.list('')).toEqual(['e']);
    disk.rename('e/f', 'e/g');
    expect(disk.list('e')).toEqual(['g']);
    await disk.unlinkAsync('e/g');
    await expect(disk.unlinkAsync('e/g')).rejects.toMatchObject({ code: 'not-found' });
    expect(failure(() => disk.unlink('e/g'))).toBe('not-found');
    disk.removeDirectory('e');
    expect(disk.list('')).toEqual([]);
  });

  it('locks against a second holder until released', () => {
    const lock = disk.lock('lock');
    expect(failure(() => disk.lock('lock'))).toBe('locked');
    lock.release();
    disk.lock('lock').release();
  });
});

describe('the lock of the real disk', () => {
  let holder: ChildProcess | undefined;
  afterEach(() => holder?.kill('SIGKILL'));

  it('holds against another process, and ends with it', async () => {
    mkdirSync(join(root, 'x'));
    holder = spawn('flock', [join(root, 'lock'), '-c', 'echo locked; exec sleep 60'], {
      stdio: ['ignore', 'pipe', 'inherit'],
      detached: true,
    });
    await once(holder.stdout!, 'data');
    const disk = openFileDisk(root);
    expect(failure(() => disk.lock('lock'))).toBe('locked');
    process.kill(-holder.pid!, 'SIGKILL');
    await once(holder, 'close');
    disk.lock('lock').release();
  });
});
