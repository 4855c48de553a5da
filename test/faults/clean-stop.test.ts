import { afterAll, beforeAll, expect, it } from 'vitest';
import { runFio } from '../setup/fio.js';
import { TestCluster } from '../setup/test-cluster.js';

let test: TestCluster;

beforeAll(async () => {
  test = await TestCluster.start();
});

afterAll(async () => {
  await test?.destroy();
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
