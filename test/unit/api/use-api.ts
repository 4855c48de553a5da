import { afterAll, beforeAll, beforeEach } from 'vitest';
import { TestEtcd } from '../../setup/etcd.js';
import { type Fixture, startFixture } from './fixture.js';

/**
 * A real etcd for the tests of a file, and an API on it for each `test` or for the whole `file`. `given` is handed
 * every one before it is used.
 */
export function useApi(each: 'test' | 'file', given: (api: Fixture, etcd: TestEtcd) => Promise<void> | void): void {
  let etcd: TestEtcd | undefined;
  let api: Fixture | undefined;
  const renew = async () => {
    etcd ??= await TestEtcd.start();
    api?.close();
    api = await startFixture(etcd);
    await given(api, etcd);
  };
  if (each === 'file') beforeAll(renew);
  else beforeEach(renew);
  afterAll(async () => {
    api?.close();
    await etcd?.destroy();
  });
}
