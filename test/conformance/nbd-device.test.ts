/** A block device and a filesystem on an attached volume, as this machine can make them. */

import { execFile, spawn } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { VolumeId } from '../../core/types.js';
import { DeviceManager } from '../../node-agent/attach/device.js';
import {
  detectContent,
  formatDevice,
  mountDevice,
  trimFilesystem,
  unmountPath,
} from '../../node-agent/attach/filesystem.js';
import { listMounts } from '../../node-agent/attach/mounts.js';
import { waitUntil } from '../../node-agent/attach/processes.js';
import { run as runCommand } from '../../node-agent/attach/run.js';
import { deviceSupport } from '../../node-agent/attach/support.js';
import { openWorld, testVolume, type World } from '../unit/frontend/attached-volume.js';

const run = promisify(execFile);
const support = deviceSupport();
const reason = 'reason' in support ? support.reason : undefined;
if (reason !== undefined) console.warn(`block devices are not tested: ${reason}`);

const loopsOn = async (directory: string): Promise<string[]> => {
  const { stdout } = await run('losetup', ['--list', '--noheadings', '--output', 'NAME,BACK-FILE']);
  return stdout.split('\n').filter((line) => line.includes(directory));
};

describe.skipIf(reason !== undefined)('a block device', () => {
  let world: World;
  let devices: DeviceManager;
  let mountPoint: string;
  const logged: string[] = [];

  const manager = () =>
    new DeviceManager({
      stateDir: join(world.directory, 'state'),
      deviceDir: join(world.directory, 'volumes'),
      log: (_, message) => logged.push(message),
    });
  const attach = async (id: VolumeId, options: { readOnly?: boolean } = {}) => {
    const attached = await world.attach(testVolume({ id, sizeBytes: 256 << 20 }), options);
    return {
      ...attached,
      present: () => devices.present(id, attached.socketPath, { readOnly: options.readOnly ?? false }),
    };
  };

  beforeAll(async () => {
    world = await openWorld();
    devices = manager();
    mountPoint = join(world.directory, 'mnt');
  });
  afterEach(() => unmountPath(mountPoint));
  afterAll(async () => {
    await manager().removeLeftovers();
    await world.close();
  });

  it('carries a filesystem: made once, mounted, trimmed, kept across a detachment', async () => {
    const id = randomUUID() as VolumeId;
    const volume = await attach(id);
    const device = await volume.present();
    expect(device).toBe(join(world.directory, 'volumes', `v.${id}`));
    expect(await volume.present()).toBe(device);
    expect(await detectContent(device)).toBeUndefined();
    expect(await formatDevice(device, 'ext4')).toBe(true);
    expect(await formatDevice(device, 'ext4')).toBe(false);
    await expect(formatDevice(device, 'xfs')).rejects.toMatchObject({ code: 'invalid-state' });

    await mountDevice(device, mountPoint, 'ext4');
    await mountDevice(device, mountPoint, 'ext4');
    const content = randomBytes(20 << 20);
    const file = join(mountPoint, 'file');
    await run('dd', ['if=/dev/urandom', `of=${file}`, 'bs=1M', 'count=20', 'conv=fsync', 'status=none']);
    const before = (await run('sha256sum', [file])).stdout;
    expect(world.primaryOf(id).flushes).toBeGreaterThan(0);
    expect(world.primaryOf(id).blocks.size * 4096).toBeGreaterThan(content.length);

    await expect(devices.withdraw(id)).rejects.toMatchObject({ code: 'in-use' });
    await unmountPath(mountPoint);
    await unmountPath(mountPoint);
    await devices.withdraw(id);
    await devices.withdraw(id);
    expect(existsSync(device)).toBe(false);
    expect(await loopsOn(world.directory)).toEqual([]);

    await mountDevice(await volume.present(), mountPoint, 'ext4');
    expect((await run('sha256sum', [file])).stdout).toBe(before);
    await rm(file);
    // Blocks are free for a trim once the journal says that they are.
    await run('sync', ['--file-system', mountPoint]);
    await trimFilesystem(mountPoint);
    expect(world.primaryOf(id).blocks.size * 4096).toBeLessThan(content.length);
    await unmountPath(mountPoint);
    await devices.withdraw(id);
  });

  it('waits while the primary is away, and goes on', async () => {
    const id = randomUUID() as VolumeId;
    const volume = await attach(id);
    const device = await volume.present();
    await formatDevice(device, 'ext4');
    await mountDevice(device, mountPoint, 'ext4');
    world.primaryOf(id).frozen = true;
    const write = run('dd', [
      'if=/dev/zero',
      `of=${mountPoint}/file`,
      'bs=64k',
      'count=8',
      'conv=fsync',
      'status=none',
    ]);
    let ended = false;
    const settled = write.finally(() => {
      ended = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect(ended).toBe(false);
    world.primaryOf(id).cut();
    world.primaryOf(id).frozen = false;
    await settled;
    expect(world.attention.length).toBeGreaterThan(0);
    await unmountPath(mountPoint);
    await devices.withdraw(id);
  });

  it('is remade when its NBD server was replaced, and nothing is left of the old one', async () => {
    const id = randomUUID() as VolumeId;
    const first = await attach(id);
    await first.present();
    const second = await world.attach(testVolume({ id, sizeBytes: 256 << 20 }), { generation: 2 });
    const device = await devices.present(id, second.socketPath, { readOnly: false });
    await run('dd', [`if=${device}`, 'of=/dev/null', 'bs=4096', 'count=1', 'iflag=direct']);
    expect(await loopsOn(id)).toHaveLength(1);
    await devices.withdraw(id);
  });

  it('can be written out while it is mounted', async () => {
    const id = randomUUID() as VolumeId;
    const device = await (await attach(id)).present();
    await formatDevice(device, 'ext4');
    await mountDevice(device, mountPoint, 'ext4');
    await run('dd', ['if=/dev/urandom', `of=${join(mountPoint, 'file')}`, 'bs=1M', 'count=8', 'status=none']);
    await devices.sync(id);
    expect(world.primaryOf(id).blocks.size * 4096).toBeGreaterThan(8 << 20);
    await unmountPath(mountPoint);
    await devices.withdraw(id);
    await devices.sync(id);
  });

  it('that has lost nbdfuse is told of', async () => {
    const id = randomUUID() as VolumeId;
    await (await attach(id)).present();
    const file = join(world.directory, 'state', 'devices', `${id}.json`);
    const { record } = JSON.parse(await readFile(file, 'utf8'));
    const said = () => logged.some((message) => message.startsWith('nbdfuse has ended'));
    expect(said()).toBe(false);
    process.kill(record.process.pid, 'SIGKILL');
    await expect.poll(said).toBe(true);
    await devices.withdraw(id);
    expect(await loopsOn(id)).toEqual([]);
  });

  it('refuses writes where the volume is attached read-only', async () => {
    const id = randomUUID() as VolumeId;
    const volume = await attach(id, { readOnly: true });
    const device = await volume.present();
    await expect(run('dd', ['if=/dev/zero', `of=${device}`, 'bs=4096', 'count=1', 'oflag=direct'])).rejects.toThrow();
    await devices.withdraw(id);
  });

  it('that a killed process left behind, mounted and in use, goes at the next start', async () => {
    const id = randomUUID() as VolumeId;
    const volume = await attach(id);
    const device = await volume.present();
    await formatDevice(device, 'ext4');
    await mountDevice(device, mountPoint, 'ext4');
    const user = spawn('sleep', ['600'], { cwd: mountPoint });
    await new Promise((resolve) => user.once('spawn', resolve));
    try {
      // As after kill -9 of the agent: the NBD server is gone, everything else is still there.
      await world.host.detach(id);
      devices = manager();
      await devices.removeLeftovers();
      expect((await listMounts()).filter((mount) => mount.mountPoint.startsWith(world.directory))).toEqual([]);
    } finally {
      user.kill();
    }
    // The kernel lets a lazily unmounted filesystem go when its last user does.
    expect(await waitUntil(async () => (await loopsOn(id)).length === 0, { timeoutMs: 10_000 })).toBe(true);
    expect(existsSync(device)).toBe(false);

    const again = await attach(id);
    await mountDevice(await again.present(), mountPoint, 'ext4');
    await unmountPath(mountPoint);
    await devices.withdraw(id);
    expect((await readdir(join(world.directory, 'state', 'devices'))).filter((name) => name.includes(id))).toEqual([]);
  });

  it('that cannot be made leaves nothing behind and says why', async () => {
    const id = randomUUID() as VolumeId;
    await mkdir(join(world.directory, 'volumes'), { recursive: true });
    const missing = join(world.directory, 'no.sock');
    await expect(devices.present(id, missing, { readOnly: false })).rejects.toMatchObject({
      name: 'DomainError',
      code: 'internal',
    });
    expect((await readdir(join(world.directory, 'state', 'devices'))).filter((name) => name.includes(id))).toEqual([]);
    expect((await readFile('/proc/self/mountinfo', 'utf8')).includes(id)).toBe(false);
  });

  it('of a volume that does not answer the kernel is unavailable, and leaves nothing behind', async () => {
    const id = randomUUID() as VolumeId;
    const { socketPath } = await world.attach(testVolume({ id, sizeBytes: 256 << 20 }));
    world.primaryOf(id).frozen = true;
    const impatient = new DeviceManager({
      stateDir: join(world.directory, 'state'),
      deviceDir: join(world.directory, 'volumes'),
      log: () => {},
      run: (command, args, options) => runCommand(command, args, args[0] === '--find' ? { timeoutMs: 1_000 } : options),
    });
    await expect(impatient.present(id, socketPath, { readOnly: false })).rejects.toMatchObject({
      code: 'node-unavailable',
      message: expect.stringContaining('no end within'),
    });
    expect((await readFile('/proc/self/mountinfo', 'utf8')).includes(id)).toBe(false);
    expect(await loopsOn(id)).toEqual([]);
  });
});
