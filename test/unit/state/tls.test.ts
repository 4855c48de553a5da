import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { NodeId } from '../../../core/types.js';
import { systemClock } from '../../../node-agent/clock.js';
import { createAuthority, issueNodeCertificate } from '../../../node-agent/pki/index.js';
import { ClusterState } from '../../../node-agent/state/cluster-state.js';
import { TestEtcd } from '../../setup/etcd.js';
import { aNamespace } from '../../setup/records.js';

let directory: string;
let etcd: TestEtcd;
const file = (name: string) => join(directory, name);

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'etcd-tls-'));
  const authority = await createAuthority({ cluster: 'test' });
  const node = '11111111-2222-4333-8444-555555555555' as NodeId;
  const { certificate, key } = await issueNodeCertificate(authority, { node, name: 'etcd', addresses: ['127.0.0.1'] });
  writeFileSync(file('ca.crt'), authority.certificate);
  writeFileSync(file('node.crt'), certificate);
  writeFileSync(file('node.key'), key, { mode: 0o600 });
  writeFileSync(file('foreign.crt'), (await createAuthority({ cluster: 'other' })).certificate);
  etcd = await TestEtcd.start({ tls: { ca: file('ca.crt'), cert: file('node.crt'), key: file('node.key') } });
});

afterAll(async () => {
  await etcd?.destroy();
  if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
});

const connect = (tls: { ca: string; cert?: string; key?: string }) =>
  ClusterState.connect({ endpoints: [etcd.endpoint], namespace: 'test', tls, clock: systemClock, onTrouble: () => {} });

it('etcd is used over mutual TLS', async () => {
  const state = await connect({ ca: file('ca.crt'), cert: file('node.crt'), key: file('node.key') });
  try {
    const namespace = aNamespace();
    await state.createNamespace(namespace);
    await expect.poll(() => state.namespaces.cached.get(namespace.id)?.value).toEqual(namespace);
  } finally {
    state.close();
  }
});

it.each([
  ['without a certificate', () => ({ ca: file('ca.crt') })],
  [
    'to a server of another authority',
    () => ({ ca: file('foreign.crt'), cert: file('node.crt'), key: file('node.key') }),
  ],
])('there is no connection %s', async (_, tls) => {
  await expect(connect(tls())).rejects.toMatchObject({ code: 'store-unavailable' });
});
