import { beforeEach, expect, it, vi } from 'vitest';
import { PasswordHasher } from '../../../node-agent/api/passwords.js';

const argon2 = vi.hoisted(() => ({ verified: [] as string[], running: 0, most: 0 }));

vi.mock('@node-rs/argon2', async (original) => {
  const library = await original<typeof import('@node-rs/argon2')>();
  return {
    ...library,
    verify: async (hash: string, password: string) => {
      argon2.verified.push(hash);
      argon2.most = Math.max(argon2.most, ++argon2.running);
      try {
        return await library.verify(hash, password);
      } finally {
        argon2.running--;
      }
    },
  };
});

beforeEach(() => Object.assign(argon2, { verified: [], running: 0, most: 0 }));

const parameters = (hash: string | undefined) => hash?.split('$').slice(1, 4);

it('hashes with argon2id, 19 MiB and 2 passes, and never the same', async () => {
  const hasher = new PasswordHasher();
  const [first, second] = [await hasher.hash('correct horse'), await hasher.hash('correct horse')];
  expect(parameters(first)).toEqual(['argon2id', 'v=19', 'm=19456,t=2,p=1']);
  expect(first).not.toBe(second);
  expect(await hasher.verify(first, 'correct horse')).toBe(true);
  expect(await hasher.verify(first, 'correct hors')).toBe(false);
});

it('does the same work for a user that does not exist, so that names cannot be told by the time', async () => {
  const hasher = new PasswordHasher();
  const known = await hasher.hash('correct horse');
  expect(await hasher.verify(undefined, '')).toBe(false);
  await hasher.verify(known, 'wrong');
  expect(argon2.verified).toHaveLength(2);
  expect(parameters(argon2.verified[0])).toEqual(parameters(known));
});

it('forgets those whose client goes away while they wait', async () => {
  const hasher = new PasswordHasher();
  const known = await hasher.hash('x');
  await hasher.verify(undefined, 'x');
  const before = argon2.verified.length;
  const gone = Array.from({ length: 65 }, () => new AbortController());
  const busy = [hasher.verify(known, 'x'), hasher.verify(known, 'x')];
  const waiting = gone.slice(1).map(({ signal }) => hasher.verify(known, 'x', signal));
  for (const client of gone) client.abort();
  const outcomes = await Promise.allSettled([...waiting, hasher.verify(known, 'x', gone[0]?.signal)]);
  expect(outcomes.every(({ status }) => status === 'rejected')).toBe(true);
  expect(await Promise.all([...busy, hasher.verify(known, 'x')])).toEqual([true, true, true]);
  expect(argon2.verified.length - before).toBe(3);
});

it('computes two at a time, lets 64 wait and refuses more', async () => {
  const hasher = new PasswordHasher();
  const known = await hasher.hash('x');
  await hasher.verify(undefined, 'x');
  const outcomes = await Promise.allSettled(Array.from({ length: 70 }, () => hasher.verify(known, 'wrong')));
  expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(66);
  const [refused] = outcomes.filter((outcome) => outcome.status === 'rejected');
  expect(refused?.reason).toMatchObject({ code: 'node-unavailable' });
  expect(argon2.most).toBe(2);
  expect(await hasher.verify(known, 'x')).toBe(true);
});
