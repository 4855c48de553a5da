import { describe, expect, it } from 'vitest';
import { explore, type StepInfo, type System } from './orders.js';
import { Scope } from './scope.js';

/** Messages that are there from the beginning: `from>to`, in order per pair. */
class Mailboxes implements System {
  readonly problems: readonly string[] = [];
  readonly #left: Map<string, number>;
  readonly #onFinish: (orders: ReadonlyMap<string, string>) => void;
  readonly #seen = new Map<string, string>();

  constructor(messages: Record<string, number>, onFinish: (orders: ReadonlyMap<string, string>) => void) {
    this.#left = new Map(Object.entries(messages));
    this.#onFinish = onFinish;
  }

  steps(): string[] {
    return [...this.#left].filter(([, left]) => left > 0).map(([name]) => name);
  }

  info(name: string): StepInfo {
    return { name, touches: [name.split('>')[1]!], cause: -1, last: false };
  }

  async take(name: string): Promise<void> {
    const [from, to] = name.split('>') as [string, string];
    this.#left.set(name, this.#left.get(name)! - 1);
    this.#seen.set(to, (this.#seen.get(to) ?? '') + from);
  }

  async finish(): Promise<readonly string[]> {
    this.#onFinish(this.#seen);
    return [];
  }
}

async function ordersOf(messages: Record<string, number>) {
  const seen = new Set<string>();
  const open = async () => new Mailboxes(messages, (orders) => seen.add(JSON.stringify([...orders].sort())));
  return { ...(await explore({ open })), different: seen.size };
}

describe('all orders', () => {
  it('are run once each where they differ', async () => {
    expect(await ordersOf({ 'a>c': 2, 'b>c': 2 })).toMatchObject({ executions: 6, different: 6, complete: true });
    expect(await ordersOf({ 'a>d': 2, 'b>d': 2, 'c>d': 2 })).toMatchObject({ executions: 90, different: 90 });
  });

  it('are one where the messages go to different processes', async () => {
    expect(await ordersOf({ 'a>c': 3, 'b>d': 3 })).toMatchObject({ executions: 1, redundant: 0 });
    expect(await ordersOf({ 'a>c': 2, 'b>c': 2, 'a>d': 1, 'b>d': 1 })).toMatchObject({ executions: 12, different: 12 });
  });

  it.each(['a', 'b'])('of two writes break no promise (volume used on %s)', async (attached) => {
    const result = await explore({ open: () => Scope.open(attached, []) });
    expect(result.failures).toEqual([]);
    expect(result.complete).toBe(true);
    expect(result.executions).toBeGreaterThan(10);
  });

  it.each([['kill a'], ['promotion'], ['cut a', 'promotion']] as const)(
    'around a fault break no promise (%s %s; all of them: npm run sim:orders)',
    async (...faults) => {
      const result = await explore({ open: () => Scope.open('b', faults), limit: 60 });
      expect(result.failures).toEqual([]);
      expect(result.executions).toBe(60);
    },
  );
});
