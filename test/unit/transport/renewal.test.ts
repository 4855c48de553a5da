/** Certificates that run out and are renewed while nodes are connected. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import type { Clock } from '../../../core/ports.js';
import type { NodeId } from '../../../core/types.js';
import {
  ensureNodeIdentity,
  followIdentity,
  issueNodeCertificate,
  type KeyPair,
  type TlsIdentity,
} from '../../../node-agent/pki/index.js';
import { nodeIds, TestCluster } from './helpers.js';

const DAY_S = 24 * 3600;
const LIFETIME_S = 4;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function issue(authority: KeyPair, node: NodeId, seconds: number): Promise<TlsIdentity> {
  const request = { node, name: 'test', addresses: ['127.0.0.1'] };
  const issued = await issueNodeCertificate(authority, request, { days: seconds / DAY_S });
  return { node, ca: authority.certificate, cert: issued.certificate, key: issued.key, notAfter: '' };
}

it('connections outlive the certificates that they were made with, and new ones use the renewed', async () => {
  const cluster = await TestCluster.create();
  cleanups.push(() => cluster.stop());
  const { authority } = cluster;
  const [first, second, third, late] = nodeIds(4) as [NodeId, NodeId, NodeId, NodeId];
  const a = await cluster.add(first, { identity: await issue(authority, first, LIFETIME_S) });
  const b = await cluster.add(second, { identity: await issue(authority, second, LIFETIME_S) });
  const expired = Date.now() + (LIFETIME_S + 1) * 1_000;
  await a.network.request(second, 'before', 1, 5_000);
  const forgetful = await cluster.add(late, { identity: await issue(authority, late, LIFETIME_S) });
  for (const [node, id] of [
    [a, first],
    [b, second],
  ] as const) {
    node.network.setIdentity(await issue(authority, id, DAY_S));
  }
  await expect.poll(() => Date.now(), { timeout: 10_000 }).toBeGreaterThan(expired);

  await a.network.request(second, 'behind', 2, 5_000);
  expect(a.log).toEqual([`up ${second}`]);
  const c = await cluster.add(third, { identity: await issue(authority, third, DAY_S) });
  await c.network.request(first, 'new', 3, 5_000);
  await b.network.request(third, 'new', 4, 5_000);
  await expect(forgetful.network.request(first, 'expired', 5, 1_000)).rejects.toThrow();
});

it('files that are replaced are read again, once all of them belong together and are of the same node', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'identity-'));
  cleanups.push(() => rm(directory, { recursive: true }));
  const timers: (() => void)[] = [];
  const clock: Clock = {
    now: () => 0,
    timestamp: () => '',
    after: (_, run) => {
      timers.push(run);
      return { cancel: () => {} };
    },
  };
  const look = async (): Promise<void> => {
    const before = timers.length;
    timers.at(-1)!();
    await expect.poll(() => timers.length).toBeGreaterThan(before);
  };
  const { authority } = await TestCluster.create();
  const [node, other] = nodeIds(2) as [NodeId, NodeId];
  const request = { node, name: 'test', addresses: ['127.0.0.1'] };
  const files = await ensureNodeIdentity(directory, authority, request);
  const [troubles, renewed]: [string[], TlsIdentity[]] = [[], []];
  const followed = await followIdentity(files, { clock, onTrouble: (error) => troubles.push(error.message) });
  followed.follow((identity) => renewed.push(identity));
  cleanups.push(() => followed.close());
  await look();
  expect([troubles, renewed]).toEqual([[], []]);

  const next = await issueNodeCertificate(authority, request);
  await writeFile(files.nodeCert, next.certificate);
  await look();
  await look();
  expect(troubles).toEqual([expect.stringContaining('is not the key of')]);
  await writeFile(files.nodeKey, next.key);
  await look();
  expect(renewed).toMatchObject([{ node, cert: next.certificate, key: next.key }]);

  const foreign = await issueNodeCertificate(authority, { ...request, node: other });
  await writeFile(files.nodeCert, foreign.certificate);
  await writeFile(files.nodeKey, foreign.key);
  await look();
  expect(troubles.at(-1)).toContain(`is now that of node ${other}`);
  expect([renewed.length, followed.current.cert]).toEqual([1, next.certificate]);
});
