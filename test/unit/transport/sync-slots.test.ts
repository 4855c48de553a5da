import { describe, expect, it } from 'vitest';
import { ReplicationError } from '../../../core/replication/context.js';
import { type Running, SyncSlots } from '../../../node-agent/replication/sync-slots.js';

interface Act extends Running<string> {
  readonly name: string;
  end: () => void;
  cancelled: boolean;
}

function bench(limit: number) {
  const slots = new SyncSlots(limit);
  const begun: Act[] = [];
  const add = (name: string): Running<string> =>
    slots.run(() => {
      let settle: { resolve: (text: string) => void; reject: (error: Error) => void } | undefined;
      const done = new Promise<string>((resolve, reject) => {
        settle = { resolve, reject };
      });
      const act: Act = {
        name,
        done,
        end: () => settle!.resolve(name),
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
    await new Promise((resolve) => setImmediate(resolve));
    return begun.map(({ name }) => name).join('');
  };
  return { slots, begun, add, names };
}

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
    b!.cancel();
    await expect(b!.done).rejects.toMatchObject({ code: 'cancelled' });
    expect(slots.waiting).toBe(1);
    expect(await names()).toBe('a');
    a!.cancel();
    expect(begun[0]!.cancelled).toBe(true);
    await expect(a!.done).rejects.toMatchObject({ message: 'by its own word' });
    expect(await names()).toBe('ac');
    c!.cancel();
    await expect(c!.done).rejects.toThrow();
  });

  it('that cannot begin free their slot', async () => {
    const { slots, add, names } = bench(1);
    const broken = slots.run<string>(() => {
      throw new ReplicationError('not-primary', 'no');
    });
    add('a');
    await expect(broken.done).rejects.toMatchObject({ code: 'not-primary' });
    expect(await names()).toBe('a');
  });
});
