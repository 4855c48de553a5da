/** Against a Temporal server that runs, and processes that are real. */

import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, describe, expect, it } from 'vitest';
import { TemporalVolumeController } from '../../../node-agent/control/client.js';
import { packageRoot } from '../../../node-agent/package-root.js';
import { SEARCH_ATTRIBUTES } from '../../../workflows/search-attributes.js';
import { startTestTemporal } from '../../setup/temporal.js';

describe('registerSearchAttributes', () => {
  it('makes them known to a server that has none, and may be repeated', async () => {
    const env = await startTestTemporal({ withoutSearchAttributes: true });
    const namespace = env.namespace ?? 'default';
    const controller = new TemporalVolumeController({
      address: env.address,
      namespace,
      identity: 'test',
      acceptTimeoutMs: 25_000,
    });
    try {
      await controller.registerSearchAttributes();
      await controller.registerSearchAttributes();
      const { customAttributes } = await env.connection.operatorService.listSearchAttributes({ namespace });
      for (const { name } of SEARCH_ATTRIBUTES) expect(customAttributes).toHaveProperty(name);
    } finally {
      await controller.close();
      await env.teardown();
    }
  });
});

describe('the control process', () => {
  const started: ChildProcess[] = [];
  afterEach(() => {
    for (const child of started.splice(0)) child.kill('SIGKILL');
  });

  it.each([
    ['when it has loaded everything, and tries to connect', 3_000],
    ['before it listens for that', 0],
  ])('ends when its agent is killed %s', async (_, afterMs) => {
    const entry = join(packageRoot(), 'dist', 'node-agent', 'control', 'control-worker.js');
    expect(existsSync(entry), `${entry}: run "npm run build"`).toBe(true);
    const agent = `
      const { fork } = require('node:child_process');
      const env = { ...process.env, TEMPORAL_ADDRESS: '127.0.0.1:1', LOG_LEVEL: 'error' };
      console.log(fork(process.argv[1], { env, stdio: ['ignore', 'ignore', 'ignore', 'ipc'] }).pid);
      setInterval(() => {}, 1000);`;
    const parent = spawn(process.execPath, ['-e', agent, entry], { stdio: ['ignore', 'pipe', 'inherit'] });
    started.push(parent);
    const pid = await new Promise<number>((resolve) => {
      createInterface({ input: parent.stdout! }).once('line', (line) => resolve(Number(line)));
    });
    const lives = () => existsSync(`/proc/${pid}`);
    await new Promise((resolve) => setTimeout(resolve, afterMs));
    expect(lives()).toBe(true);
    parent.kill('SIGKILL');
    const deadline = Date.now() + 15_000;
    while (lives() && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 50));
    expect(lives()).toBe(false);
  });
});
