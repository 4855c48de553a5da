import { describe, expect, it } from 'vitest';
import { Throttle } from '../../../node-agent/store/throttle.js';
import { SimDisk } from '../../sim/sim-disk.js';
import {
  batchOf,
  DEPLOYMENT,
  data,
  epoch,
  instantClock,
  newDeployment,
  openStores,
  seeded,
  sequence,
} from './support.js';

const MIB = 1024 * 1024;
const ZONE = 1024 * MIB;

/** A throttle with this much room and garbage, and a clock that is set by hand. */
function bench(roomBytes: number, garbageBytes: number) {
  const world = { nowMs: 0, roomBytes, garbageBytes };
  const throttle = new Throttle({
    clock: { ...instantClock, now: () => world.nowMs },
    devices: {
      get low() {
        return world.roomBytes < ZONE;
      },
      room: () => world.roomBytes,
    },
    zoneBytes: ZONE,
    maxBytesPerSecond: 512 * MIB,
    worthwhileBytes: 64 * MIB,
    garbageBytes: () => world.garbageBytes,
  });
  return { world, throttle };
}

/** Bytes per second that a writer gets who waits as he is asked to. */
function rateAt(roomBytes: number): number {
  const { world, throttle } = bench(roomBytes, ZONE);
  let written = 0;
  while (world.nowMs < 1000) {
    const delay = throttle.delayMs;
    world.nowMs += delay;
    if (delay > 0) continue;
    throttle.wrote(128 * 1024);
    written += 128 * 1024;
  }
  return written;
}

describe('writers', () => {
  it('are slowed down the more the less room is left, and never to a stop', () => {
    expect(bench(ZONE, ZONE).throttle.delayMs).toBe(0);
    const rates = [0.9, 0.5, 0.25, 0.1, 0.01].map((part) => rateAt(part * ZONE) / (512 * MIB));
    for (const [i, part] of [0.9, 0.5, 0.25, 0.1, 0.01].entries()) expect(rates[i]).toBeCloseTo(part, 2);
    expect(rateAt(0.0021 * ZONE)).toBeGreaterThanOrEqual(MIB);
  });

  it('go at full speed to the end when nothing can be given back', () => {
    const { world, throttle } = bench(MIB, 10 * MIB);
    expect([throttle.delayMs, throttle.active]).toEqual([0, false]);
    throttle.wrote(100 * MIB);
    expect(throttle.delayMs).toBe(0);
    world.garbageBytes = 100 * MIB;
    world.nowMs += 1000;
    expect(throttle.delayMs).toBeGreaterThan(0);
    expect(throttle.active).toBe(true);
  });

  it('are held when hardly any room is left: until there is some, or for a bounded time', () => {
    const { world, throttle } = bench(MIB, ZONE);
    const hold = (): number => {
      const from = world.nowMs;
      for (let delay = throttle.delayMs; delay > 0; delay = throttle.delayMs) world.nowMs += delay;
      return world.nowMs - from;
    };
    expect(hold()).toBe(20_000);
    // He who comes then is told at once that the disk is full.
    expect(hold()).toBe(0);
    world.roomBytes = 100 * MIB;
    world.nowMs += 1000;
    expect(throttle.delayMs).toBe(0);
    // At once, though somebody else took the room.
    world.roomBytes = 10 * MIB;
    world.nowMs += 1000;
    expect(throttle.delayMs).toBe(0);
    world.roomBytes = MIB;
    expect(throttle.delayMs).toBeGreaterThan(0);
    world.nowMs += 2000;
    world.roomBytes = 50 * MIB;
    expect(hold()).toBe(0);
  });

  it('are held anew in a shortage that comes long after the last one', () => {
    const { world, throttle } = bench(MIB, ZONE);
    while (throttle.delayMs > 0) world.nowMs += 100;
    // Nobody was there to see that there was room meanwhile.
    world.nowMs += 60_000;
    expect(throttle.delayMs).toBeGreaterThan(0);
  });
});

it('what was overwritten or trimmed counts as garbage before a checkpoint has found it', async () => {
  const sim = new SimDisk({ random: seeded(1) });
  const stores = await openStores(sim.mount(), { settings: { segmentBytes: 8_192 } });
  const store = await stores.create(newDeployment);
  for (let number = 0; number < 20; number++) {
    store.append({ epoch: epoch(1), firstSequence: sequence(number + 1), batch: batchOf(data(number, 1, 1000)) });
  }
  await stores.close();
  const again = await openStores(sim.mount(), { settings: { segmentBytes: 8_192 } });
  const opened = await again.open(DEPLOYMENT);
  expect(again.garbageBytes).toBeLessThan(6_000);
  for (let number = 0; number < 5; number++) {
    const batch = batchOf(data(number, 2, 1000));
    opened.append({ epoch: epoch(1), firstSequence: sequence(opened.last.sequence + 1), batch });
  }
  expect(again.garbageBytes).toBeGreaterThan(5_000);
  const batch = batchOf({ block: 0, zero: 20 });
  opened.append({ epoch: epoch(1), firstSequence: sequence(opened.last.sequence + 1), batch });
  expect(again.garbageBytes).toBe(opened.usedBytes);
  await again.close();
});
