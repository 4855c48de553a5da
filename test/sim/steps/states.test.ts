import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../scheduler.js';
import { exploreStates, type StatesOptions, type StepInfo, type System } from './states.js';

const COMMAND = fileURLToPath(new URL('../../../dist/test/sim/steps/states-main.js', import.meta.url));

/** Messages that are there from the beginning: `from>to`, in order per pair. */
class Mailboxes implements System {
  readonly problems: readonly string[] = [];
  readonly #left: Map<string, number>;
  readonly #add: (before: string, from: string) => string;
  readonly #seen = new Map<string, string>();
  readonly #hidden: string[] = [];

  /** `add`: what a mailbox becomes with a message. */
  constructor(messages: Record<string, number>, add: (before: string, from: string) => string) {
    this.#left = new Map(Object.entries(messages));
    this.#add = add;
  }

  fingerprint(): string {
    return JSON.stringify([[...this.#left].sort(), [...this.#seen].sort()]);
  }

  steps(): string[] {
    return [...this.#left].filter(([, left]) => left > 0).map(([name]) => name);
  }

  info(name: string): StepInfo {
    return { name, touches: [name.split('>')[1]!], deviates: name !== this.steps()[0] };
  }

  async take(name: string): Promise<void> {
    const [from, to] = name.split('>') as [string, string];
    this.#left.set(name, this.#left.get(name)! - 1);
    this.#hidden.push(from);
    this.#seen.set(to, this.#add(this.#seen.get(to) ?? '', this.#hidden.join('')));
  }

  async finish(): Promise<readonly string[]> {
    return [];
  }
}

/** What has come, in its order; how much has come. */
const inOrder = (before: string, from: string): string => before + from.at(-1);
const counted = (before: string): string => `${before}.`;

const all = (messages: Record<string, number>, add = inOrder, options: Partial<StatesOptions> = {}) =>
  exploreStates({ open: async () => new Mailboxes(messages, add), probes: 20, ...options });

describe('all states', () => {
  it('are met once each', async () => {
    // Words of up to two a and two b.
    expect(await all({ 'a>c': 2, 'b>c': 2 })).toMatchObject({ states: 19, ends: 6, complete: true, failures: [] });
    expect(await all({ 'a>c': 2, 'b>c': 2 }, counted)).toMatchObject({ states: 9, ends: 1, transitions: 12 });
  });

  it('are met by one of the orders where the messages go to different processes', async () => {
    const messages = { 'a>c': 3, 'b>d': 3 };
    expect(await all(messages)).toMatchObject({ states: 16, transitions: 15, ends: 1, complete: true });
    expect(await all(messages, inOrder, { sleepSets: false })).toMatchObject({ states: 16, transitions: 24 });
  });

  it('are all there are: a state that does not show all of itself is noticed', async () => {
    // The third message has an effect that depends upon the order of the first two, which does not show.
    const third = (before: string, order: string): string => (order.length < 3 ? `${before}.` : order);
    const random = new SeededRandom(1);
    const choose = (count: number): number => random.int(0, count - 1);
    const { complete, failures } = await all({ 'a>c': 2, 'b>c': 2 }, third, { choose });
    expect({ complete, failures: failures.length > 0 }).toEqual({ complete: true, failures: true });
  });

  it('are met with a bound if so few deviations lead to them', async () => {
    // Words of two a and two b, the a first: none; one b earlier; both.
    const messages = { 'a>c': 2, 'b>c': 2 };
    const bounded = (deviations: number) => all(messages, inOrder, { deviations });
    expect(await bounded(0)).toMatchObject({ states: 5, ends: 1, runs: 1, complete: true });
    expect(await bounded(1)).toMatchObject({ ends: 3, complete: true });
    expect(await bounded(2)).toMatchObject({ states: 19, ends: 6, complete: true });
  });

  it('are told apart with a bound if other steps are usual in them', async () => {
    // What is usual turns around with each deviation, which the state does not show.
    class Turning extends Mailboxes {
      #turned = false;
      override steps(): string[] {
        return this.#turned ? super.steps().reverse() : super.steps();
      }
      override async take(name: string): Promise<void> {
        if (name !== this.steps()[0]) this.#turned = !this.#turned;
        await super.take(name);
      }
    }
    class Telling extends Turning {
      usualOrder(): string {
        return this.steps().join();
      }
    }
    const messages = { 'a>c': 3, 'b>c': 3 };
    const explored = (open: () => System) => exploreStates({ open: async () => open(), deviations: 2 });
    const hidden = await explored(() => new Turning(messages, counted));
    const told = await explored(() => new Telling(messages, counted));
    expect(told.states).toBeGreaterThan(hidden.states);
  });

  it('says when it has not met all', async () => {
    expect(await all({ 'a>c': 5, 'b>c': 5 }, inOrder, { limit: 20 })).toMatchObject({ complete: false });
  });

  it.each(['no fault', 'kill a'])(
    'of two writes break no promise (%s; all of them: npm run sim:states)',
    async (fault) => {
      const { stdout } = await promisify(execFile)(process.execPath, [
        COMMAND,
        '--only',
        `used on b: ${fault}`,
        '--limit',
        '2000',
      ]);
      expect(stdout).toContain('(all)');
      expect(stdout).toContain(', 0 failed,');
    },
  );
});
