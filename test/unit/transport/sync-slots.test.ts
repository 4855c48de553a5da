import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { ReplicationError } from '../../../core/replication/context.js';
import { SyncSlots } from '../../../node-agent/replication/sync-slots.js';
import { type Running, type SharedSlots, SyncTurns } from '../../../node-agent/replication/sync-turns.js';

interface Act extends Running<string> {
  readonly name: string;
  end: () => void;
  fail: (error: Error) => void;
  cancelled: boolean;
}

function bench(limit: number, cluster?: SharedSlots) {
  const slots = new SyncSlots(limit);
  const turns = new SyncTurns({ local: slots, cluster, random: () => 0 });
  const begun: Act[] = [];
  const add = (name: string): Running<string> =>
    turns.run(name, () => {
      let settle: { resolve: (text: string) => void; reject: (error: Error) => void } | undefined;
      const done = new Promise<string>((resolve, reject) => {
        settle = { resolve, reject };
      });
      const act: Act = {
        name,
        done,
        end: () => settle!.resolve(name),
        fail: (error) => settle!.reject(error),
        cancel: () => {
          act.cancelled = true;
          settle!.reject(new ReplicationError('cancelled', 'by its own word'));
        },
        cancelled: false,
      };
      begun.push(act);
      return act;
    });
  const names = async () => {
    for (let i = 0; i < 3; i++) await setImmediate();
    return begun.map(({ name }) => name).join('');
  };
  return { slots, begun, add, names };
}

const busy = () => new ReplicationError('target-busy', 'its node is');

describe('syncs from one node', () => {
  it('begin as slots get free, in their order', async () => {
    const { slots, begun, add, names } = bench(2);
    const all = ['a', 'b', 'c', 'd'].map(add);
    expect(await names()).toBe('ab');
    expect(slots.waiting).toBe(2);
    begun[1]!.end();
    expect(await all[1]!.done).toBe('b');
    expect(await names()).toBe('abc');
    begun[0]!.end();
    begun[2]!.end();
    expect(await names()).toBe('abcd');
    begun[3]!.end();
    expect(await Promise.all(all.map(({ done }) => done))).toEqual(['a', 'b', 'c', 'd']);
    add('e');
    expect(await names()).toBe('abcde');
  });

  it('are cancelled while they wait, and while they run', async () => {
    const { slots, begun, add, names } = bench(1);
    const [a, b, c] = ['a', 'b', 'c'].map(add);
    expect(await names()).toBe('a');
    b!.cancel();
    await expect(b!.done).rejects.toMatchObject({ code: 'cancelled' });
    expect(slots.waiting).toBe(1);
    a!.cancel();
    await expect(a!.done).rejects.toMatchObject({ message: 'by its own word' });
    expect(begun[0]!.cancelled).toBe(true);
    expect(await names()).toBe('ac');
    c!.cancel();
    await expect(c!.done).rejects.toThrow();
  });

  it('that cannot begin free their slot', async () => {
    const { slots, add, names } = bench(1);
    const turns = new SyncTurns({ local: slots, random: () => 0 });
    const broken = turns.run<string>('x', () => {
      throw new ReplicationError('not-primary', 'no');
    });
    add('a');
    await expect(broken.done).rejects.toMatchObject({ code: 'not-primary' });
    expect(await names()).toBe('a');
  });

  it('ask a busy target again, and hold up nobody meanwhile', async () => {
    const { begun, add, names } = bench(1);
    const [a, b] = ['a', 'b'].map(add);
    expect(await names()).toBe('a');
    begun[0]!.fail(busy());
    expect(await names()).toBe('ab');
    begun[1]!.end();
    expect(await b!.done).toBe('b');
    await expect.poll(names, { timeout: 5_000 }).toBe('aba');
    begun[2]!.end();
    expect(await a!.done).toBe('a');
  });

  it('can be cancelled between two questions', async () => {
    const { begun, add, names } = bench(1);
    const a = add('a');
    expect(await names()).toBe('a');
    begun[0]!.fail(busy());
    await setImmediate();
    a.cancel();
    await expect(a.done).rejects.toMatchObject({ code: 'cancelled' });
    expect(begun).toHaveLength(1);
  });
});

describe('syncs in the cluster', () => {
  it('begin with a slot of the cluster, and give it back however they end', async () => {
    const log: string[] = [];
    const cluster: SharedSlots = {
      take: async (id) => {
        log.push(`+${id}`);
        return async () => {
          log.push(`-${id}`);
        };
      },
    };
    const { begun, add, names } = bench(2, cluster);
    const [a, b] = ['a', 'b'].map(add);
    expect(await names()).toBe('ab');
    begun[0]!.end();
    await a!.done;
    begun[1]!.fail(new ReplicationError('target-lost', 'gone'));
    await expect(b!.done).rejects.toMatchObject({ code: 'target-lost' });
    expect(log.sort()).toEqual(['+a', '+b', '-a', '-b']);
  });

  it('free their slot of the node when they are cancelled in the queue of the cluster', async () => {
    const cluster: SharedSlots = {
      take: (_, signal) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason));
        }),
    };
    const { slots, begun, add } = bench(1, cluster);
    const [a, b] = ['a', 'b'].map(add);
    await setImmediate();
    expect(slots.waiting).toBe(1);
    a!.cancel();
    await expect(a!.done).rejects.toMatchObject({ code: 'cancelled' });
    await setImmediate();
    expect(slots.waiting).toBe(0);
    b!.cancel();
    await expect(b!.done).rejects.toMatchObject({ code: 'cancelled' });
    expect(begun).toEqual([]);
  });
});
