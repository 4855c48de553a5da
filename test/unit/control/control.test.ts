import { createServer } from 'node:net';
import type { LogMetadata } from '@temporalio/worker';
import { pino } from 'pino';
import { afterEach, describe, expect, it } from 'vitest';
import { DomainError } from '../../../core/errors.js';
import type { Clock, Timer } from '../../../core/ports.js';
import type { NodeId, VolumeId } from '../../../core/types.js';
import { Attention } from '../../../node-agent/control/attention.js';
import { TemporalVolumeController } from '../../../node-agent/control/client.js';
import { MAX_DESCRIBES, RESCUE_INTERVAL_MS, Rescuer, STUCK_ATTEMPTS } from '../../../node-agent/control/rescue.js';
import { Sweeper } from '../../../node-agent/control/sweeper.js';
import { LogLimit, ownLevel } from '../../../node-agent/control/temporal-runtime.js';
import { volumeChildId, volumeWorkflowId } from '../../../workflows/names.js';

const logger = pino({ level: 'silent' });
const volume = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}` as VolumeId;

class ManualClock implements Clock {
  #now = 0;
  #timers = new Map<object, { at: number; run: () => void }>();

  now(): number {
    return this.#now;
  }

  timestamp(): string {
    return new Date(this.#now).toISOString();
  }

  after(delayMs: number, run: () => void): Timer {
    const key = {};
    this.#timers.set(key, { at: this.#now + delayMs, run });
    return { cancel: () => this.#timers.delete(key) };
  }

  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      await settle();
      const next = [...this.#timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at)[0];
      if (next === undefined) break;
      this.#timers.delete(next[0]);
      this.#now = next[1].at;
      next[1].run();
    }
    this.#now = end;
    await settle();
  }
}

/** Lets promises that are settled run on. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

describe('Attention', () => {
  function attention(signal: (id: VolumeId, reason: string) => Promise<void>) {
    const clock = new ManualClock();
    return { clock, attention: new Attention({ signal, clock, logger }) };
  }

  it('signals at once, then at most twice a second with the newest reason', async () => {
    const signals: string[] = [];
    const { clock, attention: under } = attention(async (_, reason) => void signals.push(reason));
    for (const reason of ['first', 'second', 'third']) under.look(volume(1), reason);
    await settle();
    expect(signals).toEqual(['first']);
    await clock.advance(499);
    expect(signals).toEqual(['first']);
    await clock.advance(1);
    expect(signals).toEqual(['first', 'third']);
    await clock.advance(10_000);
    expect(signals).toHaveLength(2);
  });

  it('one volume does not wait for another', async () => {
    const signals: VolumeId[] = [];
    const { attention: under } = attention(async (id) => void signals.push(id));
    under.look(volume(1), 'a');
    under.look(volume(2), 'b');
    await settle();
    expect(signals).toEqual([volume(1), volume(2)]);
  });

  it('tries again while Temporal is away, each volume once', async () => {
    let away = true;
    const signals: VolumeId[] = [];
    const { clock, attention: under } = attention(async (id) => {
      signals.push(id);
      if (away) throw new DomainError('controller-unavailable', 'away');
    });
    under.look(volume(1), 'a');
    await clock.advance(1_000);
    expect(signals).toHaveLength(1);
    await clock.advance(1_000);
    expect(signals).toHaveLength(2);
    away = false;
    await clock.advance(2_000);
    expect(signals).toHaveLength(3);
    await clock.advance(20_000);
    expect(signals).toHaveLength(3);
  });

  it('never has more than 16 signals under way', async () => {
    let underWay = 0;
    let most = 0;
    const releases: (() => void)[] = [];
    const { clock, attention: under } = attention(async () => {
      most = Math.max(most, ++underWay);
      await new Promise<void>((resolve) => releases.push(resolve));
      underWay--;
    });
    for (let n = 0; n < 50; n++) under.look(volume(n), 'a');
    for (let i = 0; i < 50; i++) {
      await settle();
      releases.shift()?.();
    }
    await clock.advance(1_000);
    expect(most).toBe(16);
    expect(underWay).toBe(0);
  });

  it('is silent after stop', async () => {
    const signals: VolumeId[] = [];
    const { clock, attention: under } = attention(async (id) => void signals.push(id));
    under.look(volume(1), 'a');
    under.look(volume(1), 'b');
    under.stop();
    under.look(volume(2), 'c');
    await clock.advance(10_000);
    expect(signals).toEqual([volume(1)]);
  });
});

describe('Sweeper', () => {
  it('starts what does not run, again and again, and survives an answerless Temporal', async () => {
    const clock = new ManualClock();
    const looked: VolumeId[] = [];
    const one = new Map([[volumeWorkflowId(volume(1)), 'run']]);
    let running: () => Promise<Map<string, string>> = async () => one;
    const rescued: ReadonlyMap<string, string>[] = [];
    const sweeper = new Sweeper({
      volumes: () => [volume(1), volume(2)],
      running: () => running(),
      rescue: async (runs) => void rescued.push(runs),
      look: (id) => looked.push(id),
      clock,
      random: { next: () => 0, uuid: () => '' },
      logger,
      intervalMs: 1_000,
    });
    await clock.advance(0);
    // The first sweep wakes those that run, too.
    expect(looked.splice(0)).toEqual([volume(1), volume(2)]);
    await clock.advance(1_000);
    expect(looked).toEqual([volume(2)]);
    expect(rescued).toEqual([one, one]);
    running = () => Promise.reject(new DomainError('controller-unavailable', 'away'));
    await clock.advance(1_000);
    running = async () => new Map();
    await clock.advance(1_000);
    expect(looked).toEqual([volume(2), volume(1), volume(2)]);
    sweeper.stop();
    await clock.advance(10_000);
    expect(looked).toHaveLength(3);
  });
});

describe('Rescuer', () => {
  function rescuer(attempts: (workflowId: string) => number) {
    const clock = new ManualClock();
    const asked: string[] = [];
    const ended: string[] = [];
    const looked: VolumeId[] = [];
    const under = new Rescuer({
      runs: {
        async attempts(id) {
          asked.push(id);
          return attempts(id);
        },
        terminate: async (id, run) => void ended.push(`${id} ${run}`),
      },
      look: (id) => looked.push(id),
      clock,
      logger,
    });
    return { clock, asked, ended, looked, under };
  }
  const running = (...ids: string[]) => new Map(ids.map((id) => [id, 'run']));

  it('ends what does not get on, and leaves alone what waits or has failed a few times', async () => {
    const child = volumeChildId(volume(2), 'failover');
    const { ended, looked, under } = rescuer((id) => (id === child ? STUCK_ATTEMPTS : STUCK_ATTEMPTS - 1));
    await under.sweep(
      running(volumeWorkflowId(volume(1)), volumeWorkflowId(volume(2)), child, 'fence-node/1', 'other'),
    );
    expect(ended).toEqual([`${child} run`]);
    expect(looked).toEqual([volume(2)]);
  });

  it('rescues a volume once a minute', async () => {
    const { clock, ended, under } = rescuer(() => STUCK_ATTEMPTS);
    const runs = running(volumeWorkflowId(volume(1)), volumeChildId(volume(1), 'failover'));
    await under.sweep(runs);
    await clock.advance(RESCUE_INTERVAL_MS - 1);
    await under.sweep(runs);
    expect(ended).toHaveLength(1);
    await clock.advance(1);
    await under.sweep(runs);
    expect(ended).toHaveLength(2);
  });

  it('asks for a limited number in a sweep, for the others in the next', async () => {
    const { asked, under } = rescuer(() => 1);
    const ids = Array.from({ length: MAX_DESCRIBES + 50 }, (_, n) => volumeWorkflowId(volume(n)));
    await under.sweep(running(...ids));
    expect(asked).toHaveLength(MAX_DESCRIBES);
    await under.sweep(running(...ids));
    expect(new Set(asked).size).toBe(ids.length);
    expect(asked).toHaveLength(2 * MAX_DESCRIBES);
  });
});

describe("a failing workflow task in Temporal's log", () => {
  it('is an error; the retries of polls are not', () => {
    expect(ownLevel('WARN', { sdkComponent: 'core', failure: 'x' } as LogMetadata)).toBe('error');
    expect(ownLevel('WARN', { sdkComponent: 'core' } as LogMetadata)).toBe('debug');
  });

  it('is told so often in each interval, with the number of those left out', () => {
    const limit = new LogLimit(2, 1_000);
    expect([0, 1, 2, 999, 1_000, 1_001, 1_002].map((at) => limit.admit(at)?.suppressed)).toEqual([
      0,
      0,
      undefined,
      undefined,
      2,
      0,
      undefined,
    ]);
  });
});

describe('TemporalVolumeController without Temporal', () => {
  const controllers: TemporalVolumeController[] = [];
  afterEach(async () => {
    await Promise.all(controllers.splice(0).map((controller) => controller.close()));
  });

  function controller(address: string): TemporalVolumeController {
    const made = new TemporalVolumeController({
      address,
      namespace: 'default',
      identity: 'test',
      acceptTimeoutMs: 500,
    });
    controllers.push(made);
    return made;
  }

  async function expectAway(under: TemporalVolumeController): Promise<void> {
    const calls: (() => Promise<unknown>)[] = [
      () => under.provision(volume(1), { waitMs: 10_000 }),
      () => under.attach(volume(1), volume(2) as string as NodeId, { waitMs: 10_000 }),
      () => under.changed(volume(1)),
      () => under.verify(volume(1)),
      () => under.running(),
    ];
    for (const call of calls) {
      const started = performance.now();
      await expect(call()).rejects.toMatchObject({ name: 'DomainError', code: 'controller-unavailable' });
      expect(performance.now() - started).toBeLessThan(5_000);
    }
  }

  it('says so soon if nobody listens', async () => {
    const server = createServer();
    const port = await new Promise<number>((resolve) => {
      server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port));
    });
    await new Promise((resolve) => server.close(resolve));
    await expectAway(controller(`127.0.0.1:${port}`));
  });

  it('says so soon if whoever listens says nothing', async () => {
    const sockets = new Set<{ destroy(): void }>();
    const server = createServer((socket) => sockets.add(socket));
    const port = await new Promise<number>((resolve) => {
      server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port));
    });
    try {
      await expectAway(controller(`127.0.0.1:${port}`));
    } finally {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    }
  });
});
