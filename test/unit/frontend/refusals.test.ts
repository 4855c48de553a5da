/** What an application sees as EIO or ENOSPC has a reason in the log. */

import { randomUUID } from 'node:crypto';
import { afterEach, describe, expect, it } from 'vitest';
import type { VolumeId } from '../../../core/types.js';
import { CMD_FLAG } from '../../../node-agent/frontend/nbd-protocol.js';
import { REPEAT_MS, Refusals } from '../../../node-agent/frontend/refusals.js';
import { NbdClient } from '../../setup/nbd-client.js';
import { openWorld, testVolume, type World } from './attached-volume.js';

let world: World | undefined;
afterEach(() => world?.close());

const refusalsOf = (volume: string) =>
  world!.logged.filter((line) => line.volume === volume && line.operation !== undefined);

describe('a request that is answered with an error', () => {
  it('is in the log, with the reason that the client is not told', async () => {
    world = await openWorld({ engine: 'wasm' });
    const id = randomUUID() as VolumeId;
    const { socketPath } = await world.attach(testVolume({ id }));
    const client = await NbdClient.connect(socketPath);
    try {
      await client.write(0, Buffer.alloc(4096, 1));
      expect(refusalsOf(id)).toEqual([]);
      for (const status of ['no-space', 'read-only'] as const) {
        world.primaryOf(id).writeStatus = status;
        for (let i = 0; i < 3; i++) await expect(client.write(0, Buffer.alloc(4096, 2))).rejects.toThrow();
      }
      expect(refusalsOf(id)).toMatchObject([
        { operation: 'write', error: 'no-space', before: 0 },
        { operation: 'write', error: 'read-only', before: 0 },
      ]);
      await expect(client.read(64 << 20, 4096)).rejects.toThrow();
      expect(refusalsOf(id).at(-1)).toMatchObject({ operation: 'read', error: 'malformed' });
    } finally {
      client.close();
    }
  });

  it('is not, if it only asked whether zeroes can be written fast', async () => {
    world = await openWorld({ engine: 'wasm' });
    const id = randomUUID() as VolumeId;
    const { socketPath } = await world.attach(testVolume({ id }));
    const client = await NbdClient.connect(socketPath);
    try {
      await expect(client.writeZeroes(0, 100, CMD_FLAG.fastZero)).rejects.toThrow();
      expect(refusalsOf(id)).toEqual([]);
      await expect(client.writeZeroes(64 << 20, 100, CMD_FLAG.fastZero)).rejects.toThrow();
      expect(refusalsOf(id)).toMatchObject([{ error: 'malformed' }]);
    } finally {
      client.close();
    }
  });

  it('is told once for each cause, and again after a while with how often it came', () => {
    let nowMs = 0;
    const lines: unknown[] = [];
    const clock = { now: () => nowMs, timestamp: () => '', after: () => ({ cancel: () => {} }) };
    const refusals = new Refusals({ clock, log: (_level, _message, fields) => lines.push(Object.values(fields)) });
    for (let i = 0; i < 5; i++) refusals.add('write', 'no-space');
    refusals.add('write', 'io-error');
    refusals.add('read', 'io-error');
    expect(lines.splice(0)).toEqual([
      ['write', 'no-space', 0],
      ['write', 'io-error', 0],
      ['read', 'io-error', 0],
    ]);
    nowMs = REPEAT_MS - 1;
    refusals.add('write', 'no-space');
    expect(lines).toEqual([]);
    nowMs = REPEAT_MS;
    refusals.add('write', 'no-space');
    expect(lines).toEqual([['write', 'no-space', 5]]);
  });
});
