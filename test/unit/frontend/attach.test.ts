/** Block devices and filesystems as sequences of commands; on real devices: test/conformance/nbd-device.test.ts. */

import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { VolumeId } from '../../../core/types.js';
import { DeviceManager } from '../../../node-agent/attach/device.js';
import { DeviceRecords, type KernelNbdRecord } from '../../../node-agent/attach/device-record.js';
import { detectContent, formatDevice, mountDevice } from '../../../node-agent/attach/filesystem.js';
import { isKernelNbdAlive, makeKernelNbd, removeKernelNbd } from '../../../node-agent/attach/kernel-nbd.js';
import { parseMountInfo } from '../../../node-agent/attach/mounts.js';
import { identifyProcess, isRunning } from '../../../node-agent/attach/processes.js';
import { CommandError, type Run, run } from '../../../node-agent/attach/run.js';
import { deviceSupport } from '../../../node-agent/attach/support.js';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'attach-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

/** Answers commands with what `script` says: output, or an exit code. */
function scripted(script: (command: string, args: readonly string[]) => string | number | Promise<string | number>) {
  const calls: string[] = [];
  const fake: Run = async (command, args) => {
    calls.push([command, ...args].join(' '));
    const answer = await script(command, args);
    if (typeof answer === 'number') throw new CommandError(command, 'failed', `exit code ${answer}`, answer);
    return { stdout: answer, stderr: '' };
  };
  return { calls, run: fake };
}

describe('run', () => {
  const options = { timeoutMs: 10_000 };

  it('gives the output, in the C locale and without a shell', async () => {
    const { stdout } = await run('printenv', ['LC_ALL'], options);
    expect(stdout).toBe('C\n');
    expect((await run('echo', ['$HOME; false'], options)).stdout).toBe('$HOME; false\n');
  });

  it.each([
    ['a failure', 'ls', ['/does/not/exist'], { problem: 'failed', exitCode: 2 }],
    ['a missing program', 'no-such-program-here', [], { problem: 'missing' }],
    ['a signal', 'sh', ['-c', 'kill -9 $$'], { problem: 'failed', exitCode: undefined }],
  ] as const)('tells %s', async (_, command, args, expected) => {
    await expect(run(command, args, options)).rejects.toMatchObject({ name: 'CommandError', ...expected });
  });

  it('ends what takes too long', async () => {
    await expect(run('sleep', ['60'], { timeoutMs: 50 })).rejects.toMatchObject({ problem: 'timeout' });
  });

  it('keeps a bounded part of endless output', async () => {
    const { stdout } = await run('head', ['-c', '1000000', '/dev/zero'], options);
    expect(stdout).toHaveLength(65_536);
  });
});

describe('processes', () => {
  it('are told from later ones of the same number', async () => {
    const self = (await identifyProcess(process.pid)) ?? expect.fail('this process is not found');
    expect(await isRunning(self)).toBe(true);
    expect(await isRunning({ ...self, startTime: '1' })).toBe(false);
    expect(await identifyProcess(2 ** 22 + 1)).toBeUndefined();
  });
});

describe('mountinfo', () => {
  it('is read with escapes and optional fields', () => {
    const text = `36 35 7:3 / /mnt/with\\040blank rw,noatime shared:1 master:2 - ext4 /dev/loop3 rw
25 30 0:23 / /proc rw - proc proc rw
nonsense
`;
    expect(parseMountInfo(text)).toEqual([
      { device: '7:3', mountPoint: '/mnt/with blank', fsType: 'ext4', source: '/dev/loop3' },
      { device: '0:23', mountPoint: '/proc', fsType: 'proc', source: 'proc' },
    ]);
  });
});

describe('what a device can be made of', () => {
  const machine = (options: { root?: boolean; paths?: string[]; tools?: string[] }) => ({
    isRoot: options.root ?? true,
    exists: (path: string) => options.paths?.includes(path) ?? false,
    hasTool: (name: string) => options.tools?.includes(name) ?? false,
  });
  const fuse = { paths: ['/dev/fuse', '/dev/loop-control'], tools: ['nbdfuse', 'fusermount3', 'losetup'] };

  it('prefers the kernel, takes FUSE and loop, or says what is missing', () => {
    expect(deviceSupport(machine({ root: false }))).toEqual({ reason: expect.stringContaining('root') });
    expect(deviceSupport(machine({ paths: ['/sys/module/nbd'], tools: ['nbd-client'] }))).toEqual({
      kind: 'kernel-nbd',
    });
    expect(deviceSupport(machine(fuse))).toEqual({ kind: 'fuse-loop' });
    expect(deviceSupport(machine({ ...fuse, tools: ['losetup', 'fusermount3'] }))).toEqual({
      reason: expect.stringMatching(/libnbd-bin/),
    });
    expect(deviceSupport(machine({ ...fuse, paths: ['/sys/module/nbd'] }))).toEqual({
      reason: expect.stringMatching(/nbd-client is missing.*\/dev\/fuse/),
    });
  });

  it('is the reason that `present` gives', async () => {
    const devices = new DeviceManager({
      stateDir: directory,
      deviceDir: directory,
      support: { reason: 'no hands' },
      log: () => undefined,
    });
    expect(devices.unsupported).toBe('no hands');
    const presented = devices.present(randomUUID() as VolumeId, '/s', { readOnly: false });
    await expect(presented).rejects.toMatchObject({ code: 'invalid-state', message: 'no hands' });
  });
});

describe("the kernel's NBD client", () => {
  const volume = randomUUID() as VolumeId;
  const device = async (name: string, size: number, connected: boolean) => {
    await mkdir(join(directory, name));
    await writeFile(join(directory, name, 'size'), `${size}\n`);
    if (connected) await writeFile(join(directory, name, 'pid'), '1\n');
  };

  const paths = () => ({ sysBlock: directory, proc: directory });

  it('connects the first free device over one connection, recorded before', async () => {
    await device('nbd0', 100, true);
    await device('nbd10', 0, false);
    await device('nbd2', 0, false);
    await device('loop0', 0, false);
    const saved: KernelNbdRecord[] = [];
    const { calls, run: fake } = scripted(() => {
      expect(saved).toHaveLength(1);
      return '';
    });
    const save = async (record: KernelNbdRecord) => void saved.push(record);
    const options = { volume, socketPath: '/s', readOnly: true, save };
    expect(await makeKernelNbd(options, fake, paths())).toBe('/dev/nbd2');
    expect(calls).toEqual([`nbd-client -nonetlink -unix /s /dev/nbd2 -name ${volume} -connections 1 -readonly`]);
    expect(saved).toEqual([{ kind: 'kernel-nbd', socketPath: '/s', device: '/dev/nbd2' }]);
  });

  it('tries the next if another program was faster, and says when none is free', async () => {
    await device('nbd0', 0, false);
    await device('nbd1', 0, false);
    const { calls, run: fake } = scripted(async (_, args) => {
      if (args[3] !== '/dev/nbd0') return '';
      await writeFile(join(directory, 'nbd0', 'pid'), '1\n');
      return 1;
    });
    const options = { volume, socketPath: '/s', readOnly: false, save: async () => undefined };
    expect(await makeKernelNbd(options, fake, paths())).toBe('/dev/nbd1');
    expect(calls).toHaveLength(2);
    await writeFile(join(directory, 'nbd1', 'pid'), '1\n');
    await expect(makeKernelNbd(options, fake, paths())).rejects.toMatchObject({ code: 'invalid-state' });
  });

  it('disconnects what is its own and connected, once', async () => {
    await device('nbd0', 100, true);
    await mkdir(join(directory, '1'));
    const commandLine = (socket: string) =>
      writeFile(
        join(directory, '1', 'cmdline'),
        ['nbd-client', '-nonetlink', '-unix', socket, '/dev/nbd0', ''].join('\0'),
      );
    const record: KernelNbdRecord = { kind: 'kernel-nbd', socketPath: '/s', device: '/dev/nbd0' };
    const { calls, run: fake } = scripted(async () => {
      await rm(join(directory, 'nbd0', 'pid'));
      return '';
    });
    await commandLine('/somebody/else');
    expect(await isKernelNbdAlive(record, paths())).toBe(false);
    expect(await removeKernelNbd(record, fake, paths())).toBe(true);
    expect(calls).toEqual([]);
    await commandLine('/s');
    expect(await isKernelNbdAlive(record, paths())).toBe(true);
    expect(await removeKernelNbd(record, fake, paths())).toBe(true);
    expect(await removeKernelNbd(record, fake, paths())).toBe(true);
    expect(calls).toEqual(['nbd-client -disconnect /dev/nbd0']);
  });
});

describe('records of devices', () => {
  const volume = randomUUID() as VolumeId;
  const record: KernelNbdRecord = { kind: 'kernel-nbd', socketPath: '/s', device: '/dev/nbd0' };

  it('last as long as the boot of the machine that they are about', async () => {
    const records = new DeviceRecords(directory, 'boot 1');
    expect(await records.read(volume)).toBeUndefined();
    await records.write(volume, record);
    expect(await records.read(volume)).toEqual(record);
    expect(await records.volumes()).toEqual([volume]);
    expect(await new DeviceRecords(directory, 'boot 2').read(volume)).toBeUndefined();
    await records.remove(volume);
    expect(await records.volumes()).toEqual([]);
  });

  it('that are damaged are an error, not a guess', async () => {
    const records = new DeviceRecords(directory, 'boot 1');
    await writeFile(join(directory, `${volume}.json`), '{"bootId":"boot 1","record":{"kind":"other"}}');
    await expect(records.read(volume)).rejects.toMatchObject({ code: 'internal' });
  });
});

describe('filesystems', () => {
  it('are made on blank devices only', async () => {
    const blank = scripted((command) => (command === 'blkid' ? 2 : ''));
    expect(await formatDevice('/dev/x', 'xfs', blank.run)).toBe(true);
    expect(blank.calls.at(-1)).toBe('mkfs.xfs -q /dev/x');

    const made = scripted(() => 'DEVNAME=/dev/x\nTYPE=xfs\n');
    expect(await formatDevice('/dev/x', 'xfs', made.run)).toBe(false);
    expect(made.calls).toHaveLength(1);
    await expect(formatDevice('/dev/x', 'ext4', made.run)).rejects.toMatchObject({ code: 'invalid-state' });

    const partitioned = scripted(() => 'DEVNAME=/dev/x\nPTTYPE=gpt\n');
    await expect(formatDevice('/dev/x', 'ext4', partitioned.run)).rejects.toMatchObject({ code: 'invalid-state' });

    const raw = scripted(() => expect.fail('nothing is to be run'));
    expect(await formatDevice('/dev/x', 'block', raw.run)).toBe(false);
  });

  it('are not made where the look at the device failed', async () => {
    const { calls, run: fake } = scripted(() => 8);
    await expect(formatDevice('/dev/x', 'ext4', fake)).rejects.toMatchObject({ code: 'internal' });
    expect(calls).toHaveLength(1);
    await expect(detectContent('/dev/x', fake)).rejects.toMatchObject({ code: 'internal' });
  });

  it('need their tools', async () => {
    const fake: Run = async (command) => {
      if (command === 'blkid') throw new CommandError(command, 'failed', 'exit code 2', 2);
      throw new CommandError(command, 'missing', 'not installed');
    };
    await expect(formatDevice('/dev/x', 'btrfs', fake)).rejects.toMatchObject({ code: 'invalid-state' });
  });

  it('are mounted from the device behind the stable name, with the options asked for', async () => {
    const target = join(directory, 'device');
    const link = join(directory, 'link');
    await writeFile(target, '');
    await symlink(target, link);
    const { calls, run: fake } = scripted(() => '');
    const mountPoint = join(directory, 'mnt');
    await mountDevice(link, mountPoint, 'ext4', { readOnly: true, options: ['discard'] }, fake);
    expect(calls).toEqual([`mount -t ext4 -o ro,discard ${target} ${mountPoint}`]);
    await expect(mountDevice(link, mountPoint, 'block', {}, fake)).rejects.toMatchObject({ code: 'invalid' });
    await expect(mountDevice(link, '/proc', 'ext4', {}, fake)).rejects.toMatchObject({ code: 'in-use' });
  });
});
