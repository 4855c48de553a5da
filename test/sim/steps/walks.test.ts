import { describe, expect, it } from 'vitest';
import { walk } from './walk.js';

const SEEDS = Number(process.env.SIM_WALKS ?? 200);
const CHUNK = 50;

describe('random walks', () => {
  for (let from = 1; from <= SEEDS; from += CHUNK) {
    const to = Math.min(SEEDS, from + CHUNK - 1);
    it(`seeds ${from}–${to} keep every promise (replay one: npm run sim:walks -- --from SEED --seeds 1 --trace)`, async () => {
      let operations = 0;
      for (let seed = from; seed <= to; seed++) {
        const { problems, counts } = await walk({ seed });
        expect(problems, `seed ${seed}`).toEqual([]);
        operations += counts.operationsDone ?? 0;
      }
      expect(operations).toBeGreaterThan(0);
    });
  }

  it('does the same for the same seed', async () => {
    const lines = async (seed: number): Promise<string[]> => {
      const trace: string[] = [];
      await walk({ seed, trace: (line) => trace.push(line) });
      return trace;
    };
    expect(await lines(7)).toEqual(await lines(7));
  });
});
