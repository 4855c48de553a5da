import { pino } from 'pino';
import { expect, it } from 'vitest';
import { ApiServices, MAX_BACKGROUND } from '../../../node-agent/api/context.js';
import type { ApiDependencies } from '../../../node-agent/api/ports.js';
import { systemClock, systemRandom } from '../../../node-agent/clock.js';
import { SECRET } from './fixture.js';

const here = new AbortController().signal;
const gone = AbortSignal.abort();

/** No more than executions need. */
function services(): ApiServices {
  return new ApiServices({
    secret: SECRET,
    random: systemRandom,
    clock: systemClock,
    state: {},
    licenceKeys: [],
    logger: pino({ level: 'silent' }),
  } as unknown as ApiDependencies);
}

it.each([
  ['that went away', { asyncMs: undefined, signal: gone }],
  ['that do not wait', { asyncMs: 1000, signal: here }],
])('no operation begins while as many as may be go on for clients %s', async (_, client) => {
  const api = services();
  const call = { requestId: 'test', ...client };
  const ends: (() => void)[] = [];
  const operation = () => new Promise<void>((resolve) => ends.push(resolve));
  for (let i = 0; i < MAX_BACKGROUND; i++) {
    expect(await api.execution(call).run('work', operation, () => 'done')).toMatchObject({ status: 202 });
  }
  const { asyncMs } = client;
  const like = { requestId: 'test', asyncMs, signal: here };
  expect(() => api.execution(like)).toThrow(/go on/);
  // Those who ask for long operations in the background keep nobody else from working, and the other way round.
  expect(api.execution({ ...like, asyncMs: asyncMs === undefined ? 1000 : undefined }).waits).toBe(
    asyncMs !== undefined,
  );
  ends[0]?.();
  await expect.poll(() => api.execution(call).waits).toBe(asyncMs === undefined);
  for (const end of ends) end();
});
