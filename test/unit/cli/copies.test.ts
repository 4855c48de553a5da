import { describe, expect, it } from 'vitest';
import { askCopies, MAX_PARALLEL_QUESTIONS } from '../../../cli/copies.js';
import type { NamedVolume } from '../../../cli/volume-output.js';
import { ApiError } from '../../../client/errors.js';
import type { ApiDeploymentState } from '../../../client/types.js';

const volumes = Array.from({ length: 3 * MAX_PARALLEL_QUESTIONS }, (_, i) => ({
  volume: { id: String(i), namespaceID: 'n' },
})) as unknown as NamedVolume[];
const copies = [{ id: 'd' } as ApiDeploymentState];

describe('the copies of many volumes', () => {
  it('are shown of those that can be asked, whatever is wrong with others', async () => {
    const deployments = async ({ id }: { readonly id: string }) => {
      if (id === '1') throw new ApiError('timeout', 'GET', 'no answer');
      if (id === '2') throw new ApiError('refused', 'GET', 'not found', { status: 404 });
      return copies;
    };
    const asked = await askCopies({ deployments }, volumes);
    expect(asked.map(({ volume }) => volume.id)).toEqual(volumes.map(({ volume }) => volume.id));
    expect(asked.filter((named) => named.copies === undefined).map(({ volume }) => volume.id)).toEqual(['1', '2']);
  });

  it('are asked for a limited time', async () => {
    let now = 0;
    let questions = 0;
    const deployments = async () => {
      questions++;
      // A silent node delays each of a round.
      now = Math.ceil(questions / MAX_PARALLEL_QUESTIONS) * 2500;
      return copies;
    };
    const asked = await askCopies({ deployments }, volumes, () => now);
    expect(questions).toBe(2 * MAX_PARALLEL_QUESTIONS);
    expect(asked).toHaveLength(volumes.length);
    expect(asked.at(-1)).toEqual(volumes.at(-1));
  });
});
