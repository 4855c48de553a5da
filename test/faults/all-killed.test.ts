import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { runFio, startFio } from '../setup/fio.js';
import { TestCluster } from '../setup/test-cluster.js';

let test: TestCluster;

beforeAll(async () => {
  test = await TestCluster.start();
});

afterAll(async () => {
  await test?.destroy();
});

it('nothing that was flushed is lost when all agents are killed at once', async () => {
  const volume = await test.createVolume('all-killed', 1);
  const consumer = test.bystander(volume);
  const uri = await test.attach(volume, consumer);
  await runFio({ uri, size: '24m', seed: 1, mode: 'write' });

  // Others are written at the moment of the kill, behind the first ones.
  const interrupted = startFio({ uri, size: '64m', offset: '64m', seed: 2, mode: 'write', rateIops: 500 });
  await sleep(2_000);
  await test.killAll();
  interrupted.process.kill('SIGKILL');
  await expect(interrupted.done).rejects.toThrow();

  await test.startAll();
  await test.untilReady(volume, 1);
  await test.attach(volume, consumer);
  await runFio({ uri, size: '24m', seed: 1, mode: 'verify' });
  await runFio({ uri, size: '16m', offset: '64m', seed: 3 });
  expect(await test.verify(volume)).toMatchObject({ identical: true, differingBlocks: 0 });
});

it('a clean stop of the whole cluster keeps volumes, attachments and contents', async () => {
  const volume = await test.createVolume('kept', 1);
  const consumer = test.bystander(volume);
  await runFio({ uri: await test.attach(volume, consumer), size: '16m', seed: 4, mode: 'write' });
  test = await test.restart();
  const kept = await test.untilReady(volume, 1);
  expect(kept.attachedOn).toBe(consumer.id);
  await runFio({ uri: await test.attach(kept, test.nodeOf(consumer.id)), size: '16m', seed: 4, mode: 'verify' });
});
