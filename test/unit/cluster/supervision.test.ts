import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkAgentPorts } from '../../../cluster/agent.js';
import { endOrphans, SupervisedChild } from '../../../cluster/child.js';
import { callControl, serveControl } from '../../../cluster/control.js';
import { DataDir } from '../../../cluster/data-dir.js';
import { endProcess, identifyProcess, isRunning, processIdentitySchema } from '../../../cluster/process-identity.js';
import { waitFor } from '../../../cluster/wait.js';

let scratch: string;

beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'storageos-cluster-'));
});

afterEach(() => rmSync(scratch, { recursive: true, force: true }));

function startChild(script: string, name = 'child'): Promise<SupervisedChild> {
  return SupervisedChild.start({
    name,
    command: process.execPath,
    args: ['-e', script],
    env: { PATH: process.env.PATH },
    logFile: join(scratch, `${name}.log`),
    runDir: join(scratch, 'run'),
  });
}

describe('processes', () => {
  it('are told from others that get the same pid later', async () => {
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
    const identity = identifyProcess(child.pid!)!;
    expect(isRunning(identity)).toBe(true);
    expect(isRunning({ ...identity, startTime: '1' })).toBe(false);
    expect(await endProcess({ ...identity, startTime: '1' }, 100)).toBe(true);
    expect(isRunning(identity)).toBe(true);
    expect(await endProcess(identity, 5_000)).toBe(true);
    expect(isRunning(identity)).toBe(false);
  });

  it('that ignore SIGTERM are ended all the same', async () => {
    const child = await startChild("process.on('SIGTERM', () => {}); console.log('up'); setInterval(() => {}, 1000)");
    await waitFor('the child to be up', () => child.logTail().includes('up') || undefined, { timeoutMs: 10_000 });
    expect((await child.stop(200)).signal).toBe('SIGKILL');
  });

  it('that are to end with their supervisor do, though it is killed', async () => {
    const options = { name: 'server', command: 'sleep', args: ['600'], env: { PATH: process.env.PATH } };
    const where = { logFile: join(scratch, 'log'), runDir: join(scratch, 'run'), endsWithParent: true };
    const module = JSON.stringify(fileURLToPath(new URL('../../../cluster/child.ts', import.meta.url)));
    const script = `import('vite').then(({ runnerImport }) => runnerImport(${module}, { configFile: false }))
      .then(({ module }) => module.SupervisedChild.start(${JSON.stringify({ ...options, ...where })}))
      .then(() => setInterval(() => {}, 1000))`;
    const supervisor = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'ignore', 'inherit'] });
    try {
      const record = join(scratch, 'run', 'server.json');
      await waitFor('the server', () => existsSync(record) || undefined, { timeoutMs: 20_000 });
      const server = processIdentitySchema.parse(JSON.parse(readFileSync(record, 'utf8')));
      // It is the program once it is no longer setpriv.
      const name = () => readFileSync(`/proc/${server.pid}/comm`, 'utf8').trim();
      await waitFor('the program', () => name() === 'sleep' || undefined, { timeoutMs: 5_000 });
      expect(isRunning(server)).toBe(true);
      supervisor.kill('SIGKILL');
      await waitFor('its end', () => !isRunning(server) || undefined, { timeoutMs: 5_000 });
    } finally {
      supervisor.kill('SIGKILL');
    }
  });

  it('write to their log, and leave no record when they have ended', async () => {
    const child = await startChild("console.log('to the log'); setInterval(() => {}, 1000)");
    const record = join(scratch, 'run', 'child.json');
    expect(JSON.parse(readFileSync(record, 'utf8'))).toMatchObject({ pid: child.pid });
    await waitFor('the log', () => child.logTail().includes('to the log') || undefined, { timeoutMs: 10_000 });
    await child.stop(5_000);
    expect(existsSync(record)).toBe(false);
    const next = await startChild("console.log('again'); setInterval(() => {}, 1000)");
    await waitFor('the log', () => next.logTail().includes('again') || undefined, { timeoutMs: 10_000 });
    expect(next.logTail()).toBe('again\n');
    await next.stop(5_000);
  });

  it('that an earlier supervisor left behind are ended, others are not', async () => {
    const orphan = await startChild('setInterval(() => {}, 1000)', 'orphan');
    const stranger = await startChild('setInterval(() => {}, 1000)', 'stranger');
    const strangerRecord = join(scratch, 'run', 'stranger.json');
    // Its pid was given to somebody else since.
    writeFileSync(strangerRecord, JSON.stringify({ ...identifyProcess(stranger.pid), startTime: '1' }));
    writeFileSync(join(scratch, 'run', 'torn.json'), '{"pid": 1');
    expect(await endOrphans(join(scratch, 'run'))).toEqual(['orphan']);
    expect((await orphan.exited).signal).toBe('SIGTERM');
    expect(stranger.exit).toBeUndefined();
    await stranger.kill();
  });
});

describe('data directory', () => {
  it('belongs to one supervisor at a time, who is named', async () => {
    const dataDir = new DataDir(scratch);
    dataDir.create();
    const lock = await dataDir.lock();
    writeFileSync(dataDir.factsFile, JSON.stringify({ pid: 4711 }));
    await expect(new DataDir(scratch).lock()).rejects.toThrow(/already running on .* \(process 4711\)/);
    lock.close();
    (await new DataDir(scratch).lock()).close();
  });

  it('keeps its credentials from start to start, for its owner alone', async () => {
    const dataDir = new DataDir(scratch);
    dataDir.create();
    const first = await dataDir.credentials({});
    expect(first.password.length).toBeGreaterThanOrEqual(16);
    expect(await dataDir.credentials({ BOOTSTRAP_PASSWORD: 'another one' })).toEqual(first);
    expect(statSync(dataDir.credentialsFile).mode & 0o777).toBe(0o600);
  });

  it('is removed only if it is one', () => {
    writeFileSync(join(scratch, 'precious'), '');
    expect(() => new DataDir(scratch).destroy()).toThrow(/holds no cluster/);
    expect(existsSync(join(scratch, 'precious'))).toBe(true);
  });

  it('refuses a layout that it does not understand', () => {
    const dataDir = new DataDir(scratch);
    writeFileSync(dataDir.layoutFile, '{"format": 2}');
    expect(() => dataDir.readLayout()).toThrow(/layout\.json is not what this version writes/);
  });

  it('gives sockets a path that the kernel takes, however deep it lies', () => {
    const deep = new DataDir(join(scratch, 'x'.repeat(120)));
    deep.create();
    expect(Buffer.byteLength(deep.socketPath('control.sock'))).toBeLessThanOrEqual(107);
    expect(new DataDir(scratch).socketPath('control.sock')).toBe(join(scratch, 'run', 'control.sock'));
  });
});

describe('ports', () => {
  it('that others have are named, with what to do', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(5705, '127.0.231.7', resolve));
    await expect(checkAgentPorts('127.0.231.7')).rejects.toThrow(/127\.0\.231\.7:5705 is in use.*--network/s);
    other.close();
    await checkAgentPorts('127.0.231.8');
  });
});

describe('control socket', () => {
  it('answers requests, and errors as errors', async () => {
    const path = join(scratch, 'control.sock');
    const server = await serveControl(path, async (request) => {
      if (request.command === 'status') return { fine: true };
      throw new Error('there is no such node');
    });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(await callControl(path, { command: 'status' })).toEqual({ fine: true });
    await expect(callControl(path, { command: 'kill-node', node: 'x' })).rejects.toThrow('there is no such node');
    await expect(callControl(path, { command: 'dance' } as never)).rejects.toThrow('no such command');
    await expect(callControl(path, { command: 'kill-node', node: 'x'.repeat(5000) })).rejects.toThrow();
    server.close();
    await expect(callControl(path, { command: 'status' })).rejects.toThrow(/No cluster is running/);
  });
});
