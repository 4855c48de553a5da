import { expect, test } from 'vitest';
import { Devices } from '../../../node-agent/store/devices.js';
import { SimDisk } from '../../sim/sim-disk.js';
import { instantClock, seeded } from './support.js';

test('a device that has stopped answering comes behind all others, and back with its answer', async () => {
  const disk = new SimDisk({ random: seeded(1) }).mount();
  let now = 0;
  const clock = { ...instantClock, now: () => now };
  for (const directory of ['data', 'data/dev1', 'data/dev2']) await disk.makeDirectoryAsync(directory);
  const devices = await Devices.open(disk, clock, seeded(1), 0);
  const numbers = (): number[] => devices.byRoom().map(({ number }) => number);
  expect(numbers()).toEqual([1, 2]);
  let answer = (): void => {};
  const [first] = devices.all();
  const answered = first!.answered(
    new Promise<void>((resolve) => {
      answer = resolve;
    }),
  );
  expect(numbers()).toEqual([1, 2]);
  now += 10_000;
  expect(numbers()).toEqual([2, 1]);
  answer();
  await answered;
  expect(numbers()).toEqual([1, 2]);
  devices.close();
});
