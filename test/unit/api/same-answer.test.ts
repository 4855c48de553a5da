import { expect, it, vi } from 'vitest';
import type { Fixture } from './fixture.js';
import { useApi } from './use-api.js';

let api: Fixture;
let volumes: string;

useApi('test', (given) => {
  api = given;
  volumes = `/namespaces/${api.namespace}/volumes`;
});

/** As on a node whose watch has not brought anything of this kind yet. */
function behind(cached: object): void {
  vi.spyOn(cached as { get: () => unknown }, 'get').mockReturnValue(undefined);
  vi.spyOn(cached as { size: number }, 'size', 'get').mockReturnValue(0);
}

it('a list shows masters and attachments as they are also where the watch is behind', async () => {
  const made = await api.request('POST', volumes, { name: 'data', sizeBytes: 2 ** 30, fsType: 'ext4' });
  const [nodeID] = api.nodes;
  expect((await api.request('POST', `${volumes}/${made.body.id}/attach`, { nodeID })).status).toBe(200);
  const shown = (await api.request('GET', `${volumes}/${made.body.id}`)).body;
  expect(shown).toMatchObject({ attachedOn: nodeID, attachmentType: 'host', master: { health: 'online' } });
  for (const { cached } of [api.state.attachments, api.state.memberships]) behind(cached);
  expect((await api.request('GET', volumes)).body).toEqual([shown]);
});
