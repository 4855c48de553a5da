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
  for (const signal of [gone, here]) {
    for (const asyncMs of [undefined, 1000]) {
      expect(() => api.execution({ requestId: 'test', asyncMs, signal })).toThrow(/go on/);
    }
  }
  ends[0]?.();
  await expect.poll(() => api.execution(call).waits).toBe(client.asyncMs === undefined);
  for (const end of ends) end();
});
