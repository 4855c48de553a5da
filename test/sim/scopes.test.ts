import { expect, it } from 'vitest';
import { allScopes, runScope, undisturbed } from './scopes.js';

/** Every so many of the scopes; all of them are `npm run sim:scopes`. */
const STRIDE = Number(process.env.SCOPES_STRIDE ?? 401);

it('a crash, a partition or a promotion at any moment of two writes breaks no promise (all moments: npm run sim:scopes)', async () => {
  const window = await undisturbed();
  for (const events of window) expect(events).toBeGreaterThan(20);
  let number = 0;
  let run = 0;
  for (const scope of allScopes(window)) {
    if (number++ % STRIDE !== 0) continue;
    expect((await runScope(scope)).problems, JSON.stringify(scope)).toEqual([]);
    run++;
  }
  expect(run).toBeGreaterThan(100);
});
