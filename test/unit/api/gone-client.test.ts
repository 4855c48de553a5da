import { request } from 'node:http';
import { afterEach, expect, it, vi } from 'vitest';
import { DomainError } from '../../../core/errors.js';
import { type ApiServer, listen } from '../../../node-agent/api/server.js';
import { ADMIN, type Fixture } from './fixture.js';
import { useApi } from './use-api.js';

let api: Fixture;
let server: ApiServer;
let token: string;

useApi('test', async (given) => {
  api = given;
  server = await listen(api.app, { host: '127.0.0.1', port: 0 });
  token = await api.login(ADMIN.username, ADMIN.password);
});
afterEach(() => server.close());

/** Holds the controller's next provisioning until `release`. */
function hold() {
  let release = (_failure?: DomainError) => {};
  const released = new Promise<void>((resolve) => {
    release = (failure) => {
      api.controller.failure = failure;
      resolve();
    };
  });
  const provision = api.controller.provision.bind(api.controller);
  const entered = vi.fn();
  api.controller.provision = async (id, options) => {
    entered();
    await released;
    await provision(id, options);
  };
  return { entered, release };
}

const volumes = async () => (await api.request('GET', `/namespaces/${api.namespace}/volumes`)).body;

/** Asks for a volume and goes away when the provisioning has begun. */
async function askAndLeave(entered: () => void): Promise<void> {
  const { host, port } = server.address;
  const path = `/v2/namespaces/${api.namespace}/volumes`;
  const client = request({ host, port, path, method: 'POST', headers: { authorization: token }, agent: false });
  client.on('error', () => {});
  client.end(JSON.stringify({ name: 'data', sizeBytes: 2 ** 30, fsType: 'ext4' }));
  await vi.waitFor(() => expect(entered).toHaveBeenCalled());
  client.destroy();
}

it('what a client asked for is made although it went away', async () => {
  const { entered, release } = hold();
  await askAndLeave(entered);
  expect((await volumes())[0]).toMatchObject({ name: 'data', master: { id: '' } });
  release();
  await expect.poll(async () => (await volumes())[0].master.health).toBe('online');
});

it('nothing is left of what could not be made for a client that went away', async () => {
  const { entered, release } = hold();
  await askAndLeave(entered);
  release(new DomainError('controller-unavailable', 'Temporal does not answer'));
  await expect.poll(volumes).toEqual([]);
});

it('a server that closes does not wait for clients that have gone', async () => {
  const { entered, release } = hold();
  await askAndLeave(entered);
  await server.close();
  release();
});
