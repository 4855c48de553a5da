import { describe, expect, it } from 'vitest';
import { Cancellation } from '../../../../core/replication/cancellation.js';

const never = new Promise<never>(() => {});

describe('the end of a whole', () => {
  it('ends all waits for its parts, present and later ones', async () => {
    const whole = new Cancellation();
    const present = [whole.wait(never), whole.wait(never)];
    const over = new Error('over');
    whole.cancel(over);
    whole.cancel(new Error('once more'));
    for (const wait of present) await expect(wait).rejects.toBe(over);
    await expect(whole.wait(Promise.resolve(1))).rejects.toBe(over);
    // A part that fails later is nobody's business: an unhandled rejection would fail this test.
    await expect(whole.wait(Promise.reject(new Error('late')))).rejects.toBe(over);
  });

  it('leaves parts alone that end before, and keeps nothing of them', async () => {
    const whole = new Cancellation();
    expect(await whole.wait(Promise.resolve(1))).toBe(1);
    await expect(whole.wait(Promise.reject(new Error('failed')))).rejects.toThrow('failed');
    expect(whole.pending).toBe(0);
    const waiting = whole.wait(never);
    expect(whole.pending).toBe(1);
    whole.cancel(new Error('over'));
    await expect(waiting).rejects.toThrow('over');
    expect(whole.pending).toBe(0);
  });
});
