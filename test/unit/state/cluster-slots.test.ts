/** Slots that several nodes share, on a real etcd. */

import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Etcd3 } from 'etcd3';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { systemClock } from '../../../node-agent/clock.js';
import { ClusterState } from '../../../node-agent/state/cluster-state.js';
import { TestEtcd } from '../../setup/etcd.js';

const LIMIT = 2;
let etcd: TestEtcd;
const states: ClusterState[] = [];
const namespace = `test/${randomUUID()}`;

beforeAll(async () => {
  etcd = await TestEtcd.start();
  for (let i = 0; i < 2; i++) {
    const clock = systemClock;
    states.push(await ClusterState.connect({ endpoints: [etcd.endpoint], namespace, clock, onTrouble: () => {} }));
  }
});

afterAll(async () => {
  for (const state of states) state.close();
  await etcd?.destroy();
});

it('are given to as many as there are, in the order of asking, and to the next when one is given back or lost', async () => {
  const [one, two] = states.map((state) => state.syncSlots(LIMIT)) as [
    ReturnType<ClusterState['syncSlots']>,
    ReturnType<ClusterState['syncSlots']>,
  ];
  const got: string[] = [];
  const never = new AbortController().signal;
  const take = async (slots: typeof one, id: string, signal = never) => {
    const give = await slots.take(id, signal);
    got.push(id);
    return give;
  };
  const a = await take(one, 'a');
  await take(two, 'b');
  const gaveUp = new AbortController();
  const c = take(one, 'c', gaveUp.signal);
  await expect.poll(() => keys(), { timeout: 5_000 }).toContain('c');
  const d = take(two, 'd');
  await expect.poll(() => keys(), { timeout: 5_000 }).toContain('d');
  const e = take(one, 'e');
  await expect.poll(() => keys(), { timeout: 5_000 }).toContain('e');
  await sleep(700);
  expect(got).toEqual(['a', 'b']);

  gaveUp.abort(new Error('given up'));
  await expect(c).rejects.toThrow('given up');
  await a();
  await d;
  expect(got).toEqual(['a', 'b', 'd']);

  // As if its agent had died: its lease is gone.
  const raw = new Etcd3({ hosts: etcd.endpoint });
  try {
    const key = Buffer.from(`${namespace}/syncs/b/`);
    const { kvs } = await raw.kv.range({ key, range_end: Buffer.from(`${namespace}/syncs/b0`) });
    await raw.leaseClient.leaseRevoke({ ID: kvs[0]!.lease });
  } finally {
    raw.close();
  }
  await (await e)();
  await (await d)();
  expect(got).toEqual(['a', 'b', 'd', 'e']);
}, 30_000);

it('are given to each of two who ask under the same name', async () => {
  const [one, two] = states.map((state) => state.syncSlots(1));
  const never = new AbortController().signal;
  const held = await one!.take('held', never);
  const first = one!.take('same', never);
  await expect.poll(() => keys(), { timeout: 5_000 }).toEqual(['held', 'same']);
  const gaveUp = new AbortController();
  const second = two!.take('same', gaveUp.signal);
  await expect.poll(() => keys(), { timeout: 5_000 }).toEqual(['held', 'same', 'same']);
  gaveUp.abort(new Error('given up'));
  await expect(second).rejects.toThrow('given up');
  await held();
  await (await first)();
  expect(await keys()).toEqual([]);
}, 30_000);

/** Names of those who hold a slot or wait for one. */
async function keys(): Promise<string[]> {
  const raw = new Etcd3({ hosts: etcd.endpoint });
  try {
    const all = await raw.namespace(`${namespace}/syncs/`).getAll().keys();
    return all.map((key) => key.split('/')[0]!).sort();
  } finally {
    raw.close();
  }
}
