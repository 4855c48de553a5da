import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { temporaryDirectory } from '../../../cluster/site.js';
import { type Disk, DiskError } from '../../../core/ports.js';
import { openFileDisk } from '../../../node-agent/store/index.js';
import { IoLane, poolThreads } from '../../../node-agent/store/io-lane.js';
import { SlowDisk } from '../../setup/slow-disk.js';
import { SimDisk } from '../../sim/sim-disk.js';
import { seeded } from './support.js';

/** Large enough for pages of their own, however large the kernel makes them. */
const PIECE = 1 << 20;
/** linux/magic.h */
const TMPFS = 0x01021994;

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

  it('does the same without holding up the caller', async () => {
    await disk.makeDirectoryAsync('a');
    await expect(disk.makeDirectoryAsync('a')).rejects.toMatchObject({ code: 'exists' });
    await expect(disk.openAsync('a/f', { create: false })).rejects.toMatchObject({ code: 'not-found' });
    const file = await disk.openAsync('a/f', { create: true });
    await file.writeAsync([Buffer.from('abc'), Buffer.alloc(0), Buffer.from('defg')], 2);
    expect(file.size()).toBe(9);
    const buffer = Buffer.alloc(20);
    expect(await file.readAsync(buffer, 0)).toBe(9);
    expect(buffer.toString('latin1', 0, 9)).toBe('\0\0abcdefg');
    await file.truncateAsync(4);
    expect(file.size()).toBe(4);
    await file.close();
    await expect(disk.removeDirectoryAsync('a')).rejects.toMatchObject({ code: 'exists' });
    await disk.renameAsync('a/f', 'a/g');
    expect(await disk.listAsync('a')).toEqual(['g']);
    await disk.unlinkAsync('a/g');
    await disk.removeDirectoryAsync('a');
    await expect(disk.listAsync('a')).rejects.toMatchObject({ code: 'not-found' });
    const { totalBytes, freeBytes, fileSystem } = await disk.spaceAsync('');
    expect(freeBytes).toBeLessThanOrEqual(totalBytes);
    expect(fileSystem).toBe(disk.space('').fileSystem);
  });

  it('locks against a second holder until released', () => {
    const lock = disk.lock('lock');
    expect(failure(() => disk.lock('lock'))).toBe('locked');
    lock.release();
    disk.lock('lock').release();
  });
});

describe('what the real disk has in memory', () => {
  let onDisk: string;
  beforeEach(() => {
    onDisk = temporaryDirectory('cached');
  });
  afterEach(() => rmSync(onDisk, { recursive: true }));

  it('is read whole or not at all, without waiting for the rest', async ({ skip }) => {
    const file = openFileDisk(onDisk).open('f', { create: true });
    const content = Buffer.from(Array.from({ length: 64 * 1024 }, (_, i) => i % 251));
    file.write([content], 0);
    await file.sync();
    const [small, large] = [Buffer.alloc(1000), Buffer.alloc(40_000)];
    if (!file.readCached(small, 0)) skip('this file system does not say what is in memory (RWF_NOWAIT)');
    for (const buffer of [small, large]) {
      expect(file.readCached(buffer, 777)).toBe(true);
      expect(buffer.equals(content.subarray(777, 777 + buffer.length))).toBe(true);
      expect(file.readCached(buffer, content.length - 10)).toBe(false);
    }
    // Pages that the kernel looks at in this moment stay.
    await expect
      .poll(async () => {
        await SlowDisk.evict(join(onDisk, 'f'));
        return file.readCached(small, 0);
      })
      .toBe(false);
    expect(await file.readAsync(small, 0)).toBe(small.length);
    expect(small.equals(content.subarray(0, small.length))).toBe(true);
    file.close();
  });
});

describe('what the real disk writes out', () => {
  const descriptors = (path: string): number =>
    readdirSync('/proc/self/fd').filter((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`) === path;
      } catch {
        return false;
      }
    }).length;

  it('goes through an open file of its own: an error that it is told of is news for the next sync, too', async () => {
    const file = openFileDisk(root).open('f', { create: true });
    for (const position of [0, PIECE]) file.write([Buffer.alloc(PIECE, 1)], position);
    expect(descriptors(join(root, 'f'))).toBe(1);
    const isCached = (position: number): boolean => file.readCached(Buffer.alloc(PIECE / 4), position);
    // Where files live in memory, or nothing tells what is there, this shows nothing.
    const tells = statfsSync(root).type !== TMPFS && isCached(PIECE);
    await file.writeOut(0, PIECE, false);
    await file.writeOut(PIECE, PIECE, true);
    expect(descriptors(join(root, 'f'))).toBe(2);
    const left = async (): Promise<boolean> => {
      const cached = isCached(PIECE + PIECE / 4);
      // Pages that the kernel looked at in that moment have stayed.
      if (cached) await file.writeOut(PIECE, PIECE, true);
      return cached;
    };
    if (tells) {
      await expect.poll(left).toBe(false);
      expect(isCached(PIECE / 4)).toBe(true);
    }
    const read = Buffer.alloc(2 * PIECE);
    expect(file.read(read, 0)).toBe(read.length);
    expect(read.equals(Buffer.alloc(read.length, 1))).toBe(true);
    await file.sync();
    await file.close();
    expect(descriptors(join(root, 'f'))).toBe(0);
  });
});

describe('a lane of the thread pool', () => {
  it('runs so many operations at a time, in the order of the calls, whatever fails', async () => {
    const lane = new IoLane((path) => new DiskError('io', path, 'refused'), 3);
    const settles: (() => void)[] = [];
    const ended: string[] = [];
    const runs = Array.from({ length: 20 }, (_, i) =>
      lane
        .run<number>(`file ${i}`, (settle) =>
          settles.push(() => settle(i % 3 === 0 ? Object.assign(new Error('EIO'), { code: 'EIO' }) : null, i)),
        )
        .then(
          (result) => ended.push(`${result}`),
          (error: DiskError) => ended.push(error.path),
        ),
    );
    let most = 0;
    for (let settled = 0; settled < runs.length; settled++) {
      most = Math.max(most, settles.length - settled);
      settles[settled]!();
      await runs[settled];
    }
    expect(most).toBe(3);
    expect(ended).toEqual(runs.map((_, i) => (i % 3 === 0 ? `file ${i}` : `${i}`)));
  });

  it('knows how many threads there are', () => {
    expect([{}, { UV_THREADPOOL_SIZE: '24' }, { UV_THREADPOOL_SIZE: 'many' }].map(poolThreads)).toEqual([4, 24, 4]);
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
