/** Failure modes as a primary lives them: the table of the StorageOS documents, with its 90 s, and the ways back. */

import { describe, expect, it } from 'vitest';
import type { FailureMode } from '../../../../core/domain.js';
import type { IoStatus, SessionMessage } from '../../../../core/messages.js';
import { DEFAULT_SETTINGS } from '../../../../core/replication/replicated-deployment.js';
import type { DeploymentId, Generation, SessionNumber } from '../../../../core/types.js';
import { FOURTH, primaryWithTargets, THIRD } from './copies.js';
import { OTHER, SELF } from './lab.js';

const hard: FailureMode = { kind: 'hard' };
const soft: FailureMode = { kind: 'soft' };
const alwayson: FailureMode = { kind: 'alwayson' };
const threshold = (n: number): FailureMode => ({ kind: 'threshold', threshold: n });

/** A primary with so many replicas in sync, 1–3. */
async function volume(failureMode: FailureMode, replicas: number) {
  const silent = new Set<DeploymentId>();
  const bench = await primaryWithTargets((to) => silent.has(to));
  const { lab, until } = bench;
  let applied = lab.swaps.length;
  /** etcd accepts what is asked of it next. */
  const swapped = async () => {
    await until(() => lab.swaps.length > applied, DEFAULT_SETTINGS.shortfallMs);
    applied = lab.swaps.length;
    await lab.apply();
    return lab.record!;
  };
  const join = async (deployment: DeploymentId) => {
    const sync = lab.deployment.startSync(deployment, () => {});
    const record = await swapped();
    await sync.done;
    return record;
  };
  for (const target of [THIRD, FOURTH].slice(0, replicas - 1)) await join(target);
  lab.deployment.onVolume({ ...lab.deployment.spec!, replicas, failureMode });
  await lab.pass(100);
  const all = [OTHER, THIRD, FOURTH].slice(0, replicas);
  expect(lab.record!.inSync).toEqual([SELF, ...all]);
  const lose = async (count: number): Promise<void> => {
    for (const lost of all.slice(0, count)) {
      silent.add(lost);
      await swapped();
    }
    expect(lab.record!.inSync).toHaveLength(1 + replicas - count);
  };
  return { ...bench, silent, swapped, join, lose, swapsAsked: () => lab.swaps.length - applied };
}

type Volume = Awaited<ReturnType<typeof volume>>;

let requests = 1_000;
async function statusOf({ frontend, until }: Volume, act: 'write' | 'read' | 'trim'): Promise<IoStatus> {
  const request = requests++;
  frontend.io(act, request);
  const find = () => frontend.got.find((message) => 'request' in message && message.request === request);
  await until(() => find() !== undefined, 1_000);
  return (find() as Extract<SessionMessage, { status: IoStatus }>).status;
}

describe('a volume that has lost replicas', () => {
  it.each([
    [hard, 1, 1, 'read-only'],
    [hard, 2, 1, 'read-only'],
    [soft, 1, 1, 'read-only'],
    [soft, 2, 1, 'goes on'],
    [soft, 2, 2, 'read-only'],
    [soft, 3, 1, 'goes on'],
    [soft, 3, 2, 'read-only'],
    [threshold(0), 1, 1, 'goes on'],
    [threshold(1), 2, 1, 'goes on'],
    [threshold(1), 2, 2, 'read-only'],
    [threshold(3), 3, 1, 'read-only'],
    [alwayson, 1, 1, 'goes on'],
    [alwayson, 3, 3, 'goes on'],
  ] as const)('with mode %o, %i wanted and %i lost: %s', async (mode, replicas, lost, outcome) => {
    const bench = await volume(mode, replicas);
    await bench.lose(lost);
    const { lab } = bench;
    // For 90 s a replacement may come.
    await lab.pass(DEFAULT_SETTINGS.shortfallMs - 15_000);
    expect(bench.swapsAsked()).toBe(0);
    expect(await statusOf(bench, 'write')).toBe('ok');
    if (outcome === 'goes on') {
      await lab.pass(30_000);
      expect(bench.swapsAsked()).toBe(0);
    } else {
      expect(await bench.swapped()).toMatchObject({ readOnly: true });
      expect(lab.attentions).toContain('read-only');
    }
    const writable = outcome === 'goes on' ? 'ok' : 'read-only';
    expect(await statusOf(bench, 'write')).toBe(writable);
    expect(await statusOf(bench, 'trim')).toBe(writable);
    expect(await statusOf(bench, 'read')).toBe('ok');
  });

  it('has 90 s anew when it was whole in between', async () => {
    const bench = await volume(hard, 1);
    await bench.lose(1);
    await bench.lab.pass(80_000);
    bench.silent.clear();
    expect(await bench.join(OTHER)).toMatchObject({ readOnly: false, outOfSync: [] });
    await bench.lose(1);
    await bench.lab.pass(80_000);
    expect(bench.swapsAsked()).toBe(0);
    expect(await statusOf(bench, 'write')).toBe('ok');
  });
});

describe('a volume that is read-only', () => {
  async function readOnly(mode: FailureMode, replicas: number, lost: number): Promise<Volume> {
    const bench = await volume(mode, replicas);
    await bench.lose(lost);
    await bench.swapped();
    expect(await statusOf(bench, 'write')).toBe('read-only');
    return bench;
  }

  it('is written again with the very record that takes enough copies in', async () => {
    const bench = await readOnly(hard, 1, 1);
    bench.silent.clear();
    expect(await bench.join(OTHER)).toMatchObject({ readOnly: false, inSync: [SELF, OTHER] });
    expect(await statusOf(bench, 'write')).toBe('ok');
  });

  it('stays so while a copy that came back is not enough', async () => {
    const bench = await readOnly(hard, 2, 2);
    bench.silent.delete(OTHER);
    expect(await bench.join(OTHER)).toMatchObject({ readOnly: true });
    expect(await statusOf(bench, 'write')).toBe('read-only');
    bench.silent.clear();
    expect(await bench.join(THIRD)).toMatchObject({ readOnly: false });
    expect(await statusOf(bench, 'write')).toBe('ok');
  });

  it('is attached anew like any other', async () => {
    const { lab } = await readOnly(hard, 1, 1);
    const frontend = lab.frontend();
    frontend.send({ type: 'open', session: 101 as SessionNumber, generation: 9 as Generation });
    await lab.until(() => frontend.got.length > 0);
    expect(frontend.got).toMatchObject([{ type: 'opened' }]);
  });

  it.each([
    ['another mode', { failureMode: alwayson }],
    ['fewer replicas', { replicas: 1 }],
  ] as const)('is written again at once when %s is asked for', async (_, change) => {
    const bench = await readOnly(hard, 2, 1);
    bench.lab.deployment.onVolume({ ...bench.lab.deployment.spec!, ...change });
    expect(await bench.swapped()).toMatchObject({ readOnly: false });
    expect(await statusOf(bench, 'write')).toBe('ok');
  });
});
