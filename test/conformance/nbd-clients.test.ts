/** The programs that people use speak to our NBD server: libnbd's, qemu's, fio's. */

import { execFile } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { VolumeId } from '../../core/types.js';
import { CodecPool } from '../../node-agent/codec/pool.js';
import type { AttachedVolume } from '../../node-agent/frontend/host.js';
import { openWorld, testVolume, type World } from '../unit/frontend/attached-volume.js';

const execute = promisify(execFile);
const TIMEOUT_MS = 120_000;
const SIZE = 64 << 20;

const run = (command: string, ...args: string[]) => execute(command, args, { timeout: TIMEOUT_MS });

/** What nbdsh does, by Debian's Python whatever other Python comes first in PATH. */
const nbdsh = (uri: string, script: string) =>
  run('/usr/bin/python3', '-c', `import nbd, sys\nh = nbd.NBD()\nh.connect_uri(sys.argv[1])\n${script}`, uri);

/** Codec workers that get requests of 16 KiB and more. */
const WITH_WORKERS = { workers: 2, offloadBytes: 16 << 10 };

for (const { blockSize, codec } of [
  { blockSize: 4096, codec: {} },
  { blockSize: 65536, codec: {} },
  { blockSize: 4096, codec: WITH_WORKERS },
  { blockSize: 65536, codec: WITH_WORKERS },
]) {
  const { workers = 0 } = codec as Partial<typeof WITH_WORKERS>;
  describe(`an encrypted, compressed volume with blocks of ${blockSize} bytes and ${workers} codec workers`, () => {
    const encodedByWorkers = vi.spyOn(CodecPool.prototype, 'encode');
    const decodedByWorkers = vi.spyOn(CodecPool.prototype, 'decode');
    let world: World;
    let attached: AttachedVolume;
    const id = randomUUID() as VolumeId;

    beforeAll(async () => {
      world = await openWorld(codec);
      encodedByWorkers.mockClear();
      decodedByWorkers.mockClear();
      const volume = testVolume({ id, blockSize, sizeBytes: SIZE, encryption: true });
      attached = await world.attach(volume, { key: randomBytes(64) });
    });
    afterAll(() => world.close());

    it('is described by nbdinfo as what it can do', async () => {
      const { stdout } = await run('nbdinfo', '--json', attached.nbdUri);
      const info = JSON.parse(stdout);
      expect(info).toMatchObject({ protocol: 'newstyle-fixed', structured: true });
      expect(info.exports[0]).toMatchObject({
        'export-size': SIZE,
        is_read_only: false,
        can_cache: false,
        can_df: true,
        can_fast_zero: true,
        can_flush: true,
        can_fua: true,
        can_multi_conn: true,
        can_trim: true,
        can_zero: true,
        block_size_minimum: 1,
        block_size_preferred: blockSize,
        block_size_maximum: 32 << 20,
      });
    });

    it('is found in nbdinfo --list', async () => {
      const { stdout } = await run('nbdinfo', '--list', '--json', attached.nbdUri);
      expect(JSON.parse(stdout).exports[0]['export-name']).toBe(id);
    });

    it('gives back by nbdcopy what nbdcopy brought, over several connections', async () => {
      const original = join(world.directory, 'original');
      const copy = join(world.directory, 'copy');
      // Some that compresses, some that doesn't, some zeroes, an odd end.
      const data = Buffer.concat([randomBytes(9 << 20), Buffer.alloc(5 << 20), Buffer.alloc(3 << 20, 'storage ')]);
      await writeFile(original, Buffer.concat([data, Buffer.alloc(SIZE - data.length)]));
      await run('nbdcopy', '--flush', original, attached.nbdUri);
      await run('nbdcopy', attached.nbdUri, copy);
      expect((await readFile(copy)).equals(await readFile(original))).toBe(true);
      expect(world.primaryOf(id).flushes).toBeGreaterThan(0);
    });

    it('takes every request of libnbd, aligned or not', async () => {
      const { stdout } = await nbdsh(
        attached.nbdUri,
        `
import random
size = h.get_size()
model = bytearray(h.pread(8 << 20, 0))
r = random.Random(7)
for n in range(400):
    length = r.choice([1, 511, 512, 4095, 4096, 5000, 65536, 70001, 1048577])
    offset = r.randrange(0, len(model) - length)
    if r.random() < 0.5:
        offset -= offset % 4096
    what = r.randrange(5)
    if what == 0:
        data = r.randbytes(length)
        h.pwrite(data, offset, nbd.CMD_FLAG_FUA if n % 7 == 0 else 0)
        model[offset:offset + length] = data
    elif what == 1:
        h.zero(length, offset, nbd.CMD_FLAG_NO_HOLE if n % 2 else 0)
        model[offset:offset + length] = bytes(length)
    elif what == 2:
        first = -(-offset // ${blockSize}) * ${blockSize}
        end = (offset + length) // ${blockSize} * ${blockSize}
        h.trim(length, offset)
        if first < end:
            model[first:end] = bytes(end - first)
    elif what == 3:
        assert h.pread(length, offset) == model[offset:offset + length], (n, offset, length)
    else:
        h.flush()
assert h.pread(len(model), 0) == model
def fails(errno, f, *args):
    try:
        f(*args)
    except nbd.Error as e:
        assert e.errno == errno, (e.errno, errno)
    else:
        assert False, errno
h.set_strict_mode(0)
fails('EINVAL', h.pread, 4096, size - 1)
fails('ENOSPC', h.pwrite, bytes(4096), size - 4095)
fails('EINVAL', h.trim, 4096, size)
fails('ENOSPC', h.zero, 4096, size)
fails('EINVAL', h.cache, 4096, 0)
fails('ENOTSUP', h.zero, 100, 0, nbd.CMD_FLAG_FAST_ZERO)
h.zero(size, 0, nbd.CMD_FLAG_FAST_ZERO)
assert h.pread(1 << 20, 0) == bytes(1 << 20)
print('done')
`,
      );
      expect(stdout).toContain('done');
      expect(world.primaryOf(id).fuaWrites).toBeGreaterThan(0);
      expect(world.primaryOf(id).blocks.size).toBe(0);
    });

    it('serves qemu', async () => {
      const commands = ['write -P 0xab 1M 3M', 'write -z 2M 512k', 'read -P 0xab 1M 1M', 'read -P 0 2M 512k'];
      const odd = ['write -P 0x11 -f 4097 1000', 'flush', 'read -P 0x11 4097 1000', 'discard 0 16M', 'read -P 0 0 16M'];
      const args = [...commands, ...odd].flatMap((command) => ['-c', command]);
      const { stdout } = await run('qemu-io', '-f', 'raw', ...args, attached.nbdUri);
      expect(stdout).not.toMatch(/fail|error|verif/i);
    });

    it('keeps what fio wrote, at any size and alignment', async () => {
      await run(
        'fio',
        '--name=verify',
        '--ioengine=nbd',
        `--uri=${attached.nbdUri}`,
        '--rw=randwrite',
        '--bsrange=512-256k',
        '--bs_unaligned=1',
        '--size=32m',
        '--iodepth=16',
        '--verify=crc32c',
        '--verify_fatal=1',
        '--randrepeat=0',
        '--fsync=50',
        `--aux-path=${world.directory}`,
      );
    });

    it('counted all of it', () => {
      const { stats } = world.host.get(id) ?? expect.fail('not attached');
      for (const kind of ['read', 'write', 'trim', 'flush'] as const) {
        expect(stats[kind].operations).toBeGreaterThan(0);
        expect(stats[kind].errors).toBe(0);
      }
      expect(stats.write.bytes).toBeGreaterThan(SIZE / 2);
      expect(encodedByWorkers.mock.calls.length > 0).toBe(workers > 0);
      expect(decodedByWorkers.mock.calls.length > 0).toBe(workers > 0);
    });
  });
}

describe.each([{}, WITH_WORKERS])('trouble at the primary, codec %o', (codec) => {
  let world: World;
  let attached: AttachedVolume;
  const id = randomUUID() as VolumeId;

  beforeAll(async () => {
    world = await openWorld(codec);
    attached = await world.attach(testVolume({ id, sizeBytes: SIZE }));
  });
  afterAll(() => world.close());

  it('is a pause for fio, not an error, and loses nothing', async () => {
    const cuts = setInterval(() => world.primaryOf(id).cut(), 60);
    try {
      await run(
        'fio',
        '--name=verify',
        '--ioengine=nbd',
        `--uri=${attached.nbdUri}`,
        '--rw=randrw',
        '--bsrange=1k-64k',
        '--size=16m',
        '--iodepth=16',
        '--verify=crc32c',
        '--verify_fatal=1',
        `--aux-path=${world.directory}`,
      );
    } finally {
      clearInterval(cuts);
    }
    expect(world.primaryOf(id).sessionNumbers.length).toBeGreaterThan(2);
  });

  it.each([
    ['no-space', 'ENOSPC'],
    ['read-only', 'EPERM'],
    ['io-error', 'EIO'],
    ['invalid', 'EINVAL'],
  ] as const)('reaches the client: %s is %s', async (status, errno) => {
    world.primaryOf(id).writeStatus = status;
    const script = `
try:
    h.pwrite(bytes(range(256)) * 16, 0)
except Exception as e:
    print(e.errno)
`;
    const { stdout } = await nbdsh(attached.nbdUri, script);
    world.primaryOf(id).writeStatus = 'ok';
    expect(stdout.trim()).toBe(errno);
  });

  it('that turned over stored blocks is an I/O error, not wrong data', async () => {
    await nbdsh(attached.nbdUri, 'h.pwrite(bytes(range(256)) * 16, 8192)');
    const stored = world.primaryOf(id).blocks.get(2) ?? expect.fail('block 2 is not there');
    stored.payload[0] = (stored.payload[0] ?? 0) ^ 1;
    const script = `
try:
    h.pread(4096, 8192)
except Exception as e:
    print(e.errno)
`;
    const { stdout } = await nbdsh(attached.nbdUri, script);
    expect(stdout.trim()).toBe('EIO');
  });
});

describe('a volume attached read-only', () => {
  it('says so and refuses', async () => {
    const world = await openWorld();
    try {
      const volume = testVolume({ id: randomUUID() as VolumeId, sizeBytes: SIZE });
      const { nbdUri } = await world.attach(volume, { readOnly: true });
      const script = `
print(h.is_read_only(), h.pread(1, 0))
h.set_strict_mode(0)
try:
    h.pwrite(b'x', 0)
except Exception as e:
    print(e.errno)
`;
      const { stdout } = await nbdsh(nbdUri, script);
      expect(stdout).toBe("True bytearray(b'\\x00')\nEPERM\n");
    } finally {
      await world.close();
    }
  });
});
