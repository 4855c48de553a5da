import { describe, expect, it } from 'vitest';
import type { Membership, Placement, Volume } from '../../../core/domain.js';
import type { DeploymentStatus, SyncProgress } from '../../../core/messages.js';
import type { DeploymentId, Epoch, Generation, Incarnation, NodeId, Sequence, VolumeId } from '../../../core/types.js';
import {
  actKey,
  type CopyAnswer,
  DEFAULT_PLAN_SETTINGS,
  EMPTY_MEMORY,
  HOPELESS_AFTER,
  type NodeView,
  type PlanInput,
  planVolume,
  type VolumePlan,
} from '../../../core/volume-plan.js';
import { aMembership, aVolume } from '../../setup/records.js';

const settings = DEFAULT_PLAN_SETTINGS;
const NOW = 1_000_000;

const volumeId = '00000000-0000-4000-8000-000000000001' as VolumeId;
const place = (n: number): Placement => ({
  deployment: `00000000-0000-4000-8000-0000000000d${n}` as DeploymentId,
  node: `00000000-0000-4000-8000-0000000000e${n}` as NodeId,
});
const [a, b, c, d] = [place(1), place(2), place(3), place(4)] as const;
const incarnation = (n: number) => `00000000-0000-4000-8000-00000000001${n}` as Incarnation;

function status(placed: Placement, patch: Partial<DeploymentStatus> = {}): DeploymentStatus {
  return {
    deployment: placed.deployment,
    incarnation: incarnation(1),
    promised: 5 as Epoch,
    last: { epoch: 5 as Epoch, sequence: 1000 as Sequence },
    unclean: false,
    generation: 1 as Generation,
    role: 'member',
    serving: false,
    etcdClusterId: 'ab12',
    usedBytes: 0,
    badBlocks: 0,
    ...patch,
  };
}

const serving = (patch: Partial<DeploymentStatus> = {}) => status(a, { role: 'primary', serving: true, ...patch });
const at = (sequence: number) => ({ last: { epoch: 5 as Epoch, sequence: sequence as Sequence } });
const syncing = (target: Placement, patch: Partial<SyncProgress> = {}): { sync: SyncProgress } => ({
  sync: {
    target: target.deployment,
    kind: 'full',
    blocksTotal: 1000,
    blocksDone: 400,
    bytesCopied: 0,
    blocksPerSecond: 0,
    bytesPerSecond: 0,
    startedAtMs: 0,
    ...patch,
  },
});

interface Scene {
  volume?: Partial<Volume> | null;
  membership?: Partial<Membership> | null;
  answers?: [Placement, CopyAnswer][];
  nodes?: readonly Placement[];
  input?: Partial<PlanInput>;
}

function plan({ volume, membership, answers = [], nodes = [a, b, c, d], input = {} }: Scene): VolumePlan {
  return planVolume({
    volume: volume === null ? undefined : aVolume({ id: volumeId, replicas: 1, placements: [a, b], ...volume }),
    membership:
      membership === null
        ? undefined
        : aMembership(volumeId, {
            epoch: 5 as Epoch,
            primary: { ...a, incarnation: incarnation(1) },
            inSync: [a.deployment, b.deployment],
            ...membership,
          }),
    answers: new Map(answers.map(([placed, answer]) => [placed.deployment, answer])),
    nodes: new Map(
      nodes.map((placed, i): [NodeId, NodeView] => [
        placed.node,
        { id: placed.node, name: `node${i + 1}`, cordoned: false, computeOnly: false },
      ]),
    ),
    attachedTo: undefined,
    running: undefined,
    failures: {},
    memory: EMPTY_MEMORY,
    nowMs: NOW,
    settings,
    ...input,
  });
}

const acting = { primary: a, epoch: 5 };

describe('planVolume: phases', () => {
  it('ends without a record', () => {
    expect(plan({ volume: null, membership: null }).step).toEqual({ act: 'end' });
  });

  it.each([
    ['provisioning', 'provision'],
    ['deleting', 'delete'],
  ] as const)('%s → %s', (phase, act) => {
    expect(plan({ volume: { phase }, membership: null }).step.act).toBe(act);
  });

  it('tries again to make one that could not be made, after whoever waited for it had time to remove it', () => {
    const volume = { phase: 'failed', reason: 'no node did it', updatedAt: new Date(NOW).toISOString() } as const;
    const first = plan({ volume, membership: null });
    expect(first).toMatchObject({ step: { act: 'wait' }, condition: 'failed', lookAgainMs: settings.idleMs });
    expect(first.summary).toContain('no node did it');
    const nowMs = NOW + settings.idleMs;
    expect(plan({ volume, membership: null, input: { nowMs } }).step).toEqual({ act: 'provision' });
    const failures = { [actKey({ act: 'provision' })]: { count: 1, notBeforeMs: nowMs + 5_000 } };
    expect(plan({ volume, membership: null, input: { nowMs, failures } }).step).toEqual({ act: 'wait' });
  });

  it('touches nothing when etcd has lost the membership', () => {
    const result = plan({ membership: null, answers: [[a, serving()]] });
    expect(result.step.act).toBe('wait');
    expect(result.condition).toBe('unknown');
  });
});

describe('planVolume: the primary', () => {
  const suspect = (sinceMs: number) => ({ memory: { ...EMPTY_MEMORY, suspect: { epoch: 5 as Epoch, sinceMs } } });

  it('says so when nobody has a copy any more', () => {
    const lost = (answers: [Placement, CopyAnswer][]) => plan({ answers, input: suspect(0) }).summary;
    expect(
      lost([
        [a, 'absent'],
        [b, 'absent'],
      ]),
    ).toBe(
      'node1 does not show the primary; no node shows a complete copy: bring back their disks, or delete the volume',
    );
    expect(
      lost([
        [a, 'absent'],
        [b, 'unreachable'],
      ]),
    ).toMatch(/node1 does not show the primary; .*waiting for node1, node2/);
  });

  it('looks a second time at a primary that does not answer', () => {
    const first = plan({ answers: [[b, status(b)]] });
    expect(first.step.act).toBe('wait');
    expect(first.lookAgainMs).toBe(settings.suspicionMs);
    expect(first.memory.suspect).toEqual({ epoch: 5, sinceMs: NOW });
  });

  it.each<[string, CopyAnswer | undefined, string]>([
    ['unreachable', 'unreachable', 'does not answer'],
    ['absent', 'absent', 'does not show the primary'],
    ['damaged', 'damaged', 'does not answer'],
    ['deposed', status(a), 'does not act as primary'],
  ])('fails over when it stays %s', (_, answer, why) => {
    const answers: [Placement, CopyAnswer][] = [
      [a, answer!],
      [b, status(b)],
    ];
    const result = plan({ answers, input: suspect(NOW - settings.suspicionMs) });
    expect(result.step).toMatchObject({ act: 'failover', epoch: 5 });
    expect(result.summary).toContain(why);
  });

  it('does not count the suspicion of an earlier epoch', () => {
    const memory = { ...EMPTY_MEMORY, suspect: { epoch: 4 as Epoch, sinceMs: 0 } };
    expect(plan({ input: { memory } }).step.act).toBe('wait');
  });

  it('fails over at once after a restart: the old incarnation never comes back', () => {
    const result = plan({ answers: [[a, serving({ incarnation: incarnation(2), role: 'member' })]] });
    expect(result.step).toMatchObject({ act: 'failover', epoch: 5 });
  });

  it('waits for one that opens, active or not', () => {
    for (const active of [true, false]) {
      const result = plan({ membership: { active }, answers: [[a, status(a, { role: 'opening' })]] });
      expect(result.step.act).toBe('wait');
      expect(result.condition).toBe('opening');
    }
  });

  const held = (active: boolean, ms: number, answers: [Placement, CopyAnswer][]): VolumePlan => {
    const stalled = { epoch: 5 as Epoch, sinceMs: NOW - ms };
    const role = active ? 'primary' : 'opening';
    return plan({
      membership: { active },
      answers: [[a, status(a, { role, last: { epoch: 5 as Epoch, sequence: 2000 as Sequence } })], ...answers],
      input: { memory: { ...EMPTY_MEMORY, stalled } },
    });
  };

  it.each([
    ['opens', false, settings.openingMs],
    ['is held up', true, settings.stalledMs],
  ])('replaces a primary that %s for too long, though its log is the longest', (_, active, patience) => {
    const before = held(active, patience - 10, [[b, status(b)]]);
    expect(before.step.act).toBe('wait');
    expect(before.memory.stalled).toEqual({ epoch: 5, sinceMs: NOW - patience + 10 });
    expect(before.lookAgainMs).toBeLessThanOrEqual(settings.busyMs);
    const after = held(active, patience, [[b, status(b)]]);
    expect(after.step).toMatchObject({ act: 'failover', epoch: 5, stalled: true });
  });

  it('keeps a primary that is held up while nobody else can be named', () => {
    for (const active of [true, false]) {
      expect(held(active, 3_600_000, []).step.act).toBe('wait');
      const unclean = held(active, 3_600_000, [[b, status(b, { unclean: true })]]);
      expect(unclean.step.act).toBe('wait');
      expect(unclean.lookAgainMs).toBe(settings.idleMs);
    }
  });

  it('counts the time of the present epoch only, and forgets it once the primary serves', () => {
    const memory = { ...EMPTY_MEMORY, stalled: { epoch: 4 as Epoch, sinceMs: 0 } };
    const answers: [Placement, CopyAnswer][] = [
      [a, status(a, { role: 'opening' })],
      [b, status(b)],
    ];
    const result = plan({ membership: { active: false }, answers, input: { memory } });
    expect(result).toMatchObject({ step: { act: 'wait' }, memory: { stalled: { epoch: 5, sinceMs: NOW } } });
    expect(
      plan({
        answers: [
          [a, serving()],
          [b, status(b)],
        ],
        input: { memory },
      }).memory.stalled,
    ).toBeUndefined();
  });

  it('forgets a suspicion once the primary serves', () => {
    const result = plan({ answers: [[a, serving()]], input: suspect(NOW - 100) });
    expect(result.memory.suspect).toBeUndefined();
  });

  it('does not begin a failover without a candidate, and looks less often the longer it lasts', () => {
    const looks = [1, 60, 3600].map((seconds) => plan({ input: suspect(NOW - seconds * 1000) }));
    expect(looks.map(({ step }) => step.act)).toEqual(['wait', 'wait', 'wait']);
    expect(looks.map(({ lookAgainMs }) => lookAgainMs)).toEqual([settings.busyMs, 7_500, settings.idleMs]);
    expect(looks[0]?.summary).toContain(`waiting for node1, node2`);
  });

  it('does not name an unclean copy while another one may be complete', () => {
    const answers: [Placement, CopyAnswer][] = [[b, status(b, { unclean: true })]];
    expect(plan({ answers, input: suspect(0) }).step.act).toBe('wait');
  });

  it('touches nothing while etcd is behind the copies', () => {
    const result = plan({ answers: [[b, status(b, { promised: 9 as Epoch })]], input: suspect(0) });
    expect(result.step.act).toBe('wait');
    expect(result.summary).toContain('storageos recover');
  });

  it('pauses after a failover that failed', () => {
    const failures = { failover: { count: 1, notBeforeMs: NOW + 700 } };
    const result = plan({ answers: [[b, status(b)]], input: { ...suspect(0), failures } });
    expect(result).toMatchObject({ step: { act: 'wait' }, lookAgainMs: 700 });
  });
});

describe('planVolume: copies that cannot be synced', () => {
  it('places another one, but not one after the other for ever', () => {
    const failed = (...placed: Placement[]) =>
      Object.fromEntries(
        placed.map(({ deployment }) => [`sync/${deployment}`, { count: HOPELESS_AFTER, notBeforeMs: NOW + 1 }]),
      );
    const stepWith = (...placed: Placement[]) =>
      plan({
        membership: { inSync: [a.deployment] },
        volume: { placements: [a, ...placed] },
        answers: [[a, serving()], ...placed.map((copy): [Placement, CopyAnswer] => [copy, status(copy)])],
        input: { failures: failed(...placed) },
      }).step.act;
    expect(stepWith(b)).toBe('rebuild');
    expect(stepWith(b, c)).toBe('wait');
  });
});

describe('planVolume: shortage', () => {
  const degraded = { membership: { inSync: [a.deployment] } };
  const since = (placed: Placement, ms: number) => ({ memory: { missingSince: { [placed.deployment]: NOW - ms } } });

  it('is healthy with all copies in sync', () => {
    const result = plan({ answers: [[a, serving()]] });
    expect(result).toMatchObject({ step: { act: 'wait' }, condition: 'healthy', lookAgainMs: settings.idleMs });
  });

  it('says that blocks are damaged, and does what it would do anyway', () => {
    const well = plan({ answers: [[a, serving({ badBlocks: 3 })]] });
    expect(well).toMatchObject({ step: { act: 'wait' }, condition: 'damaged' });
    expect(well.summary).toMatch(/2 of 2 copies in sync, 3 blocks .* not readable/);
    const answers: [Placement, CopyAnswer][] = [
      [a, serving({ badBlocks: 1 })],
      [b, status(b)],
    ];
    expect(plan({ ...degraded, answers })).toMatchObject({ step: { act: 'sync' }, condition: 'damaged' });
  });

  it('syncs a copy that is there again', () => {
    const result = plan({
      ...degraded,
      answers: [
        [a, serving()],
        [b, status(b)],
      ],
    });
    expect(result.step).toEqual({ act: 'sync', deployment: b.deployment, ...acting });
  });

  it('syncs while writes are held up: the failure mode waits for just that', () => {
    const result = plan({
      ...degraded,
      answers: [
        [a, serving({ serving: false })],
        [b, status(b)],
      ],
    });
    expect(result.step.act).toBe('sync');
  });

  it('waits for the grace period, no longer than it lasts', () => {
    const first = plan({ ...degraded, answers: [[a, serving()]] });
    expect(first).toMatchObject({ step: { act: 'wait' }, condition: 'degraded', lookAgainMs: settings.graceMs });
    expect(first.memory.missingSince).toEqual({ [b.deployment]: NOW });
    const later = plan({ ...degraded, answers: [[a, serving()]], input: since(b, 14_000) });
    expect(later).toMatchObject({ step: { act: 'wait' }, lookAgainMs: 1_000 });
  });

  it('then places a new copy', () => {
    const result = plan({ ...degraded, answers: [[a, serving()]], input: since(b, 15_000) });
    expect(result.step).toEqual({
      act: 'rebuild',
      reason: 'a copy is away for longer than the grace period',
      ...acting,
    });
  });

  it('waits for nothing when the node of the copy is removed', () => {
    expect(plan({ ...degraded, answers: [[a, serving()]], nodes: [a, c, d] }).step.act).toBe('rebuild');
  });

  it('places at once when more replicas are wanted', () => {
    const result = plan({
      volume: { replicas: 2 },
      answers: [
        [a, serving()],
        [b, status(b)],
      ],
    });
    expect(result.step).toMatchObject({ act: 'rebuild', reason: 'the volume wants 2 replicas' });
  });

  it('makes a placed copy that its node does not have', () => {
    const result = plan({
      ...degraded,
      answers: [
        [a, serving()],
        [b, 'absent'],
      ],
    });
    expect(result.step).toMatchObject({ act: 'rebuild', placed: b });
  });

  it('removes a placed copy that its node cannot open, so that its place is free for another', () => {
    const result = plan({
      ...degraded,
      answers: [
        [a, serving()],
        [b, 'damaged'],
      ],
    });
    expect(result.step).toMatchObject({ act: 'remove-copy', deployment: b.deployment });
  });

  it('removes one of several damaged copies, and the next one when its place is taken, or nowhere to be had', () => {
    const scene = (placements: Placement[], failures: PlanInput['failures'] = {}) =>
      plan({
        ...degraded,
        volume: { replicas: 2, placements },
        answers: [
          [a, serving()],
          [b, 'damaged'],
          [c, 'damaged'],
        ],
        input: { failures },
      }).step;
    expect(scene([a, b, c])).toMatchObject({ act: 'remove-copy', deployment: b.deployment });
    expect(scene([a, c])).toMatchObject({ act: 'rebuild' });
    const inVain = { rebuild: { count: 3, notBeforeMs: 0 } };
    expect(scene([a, c], inVain)).toMatchObject({ act: 'remove-copy', deployment: c.deployment });
  });

  it.each([
    ['has blocks that it cannot read', { badBlocks: 1 }],
    ['is held up', { serving: false }],
  ])('keeps a damaged copy while the primary %s', (_, patch) => {
    for (const inSync of [[a.deployment], [a.deployment, c.deployment]]) {
      const result = plan({
        membership: { inSync },
        volume: { placements: [a, b, c] },
        answers: [
          [a, serving(patch)],
          [b, 'damaged'],
          [c, status(c)],
        ],
      });
      expect(result.step.act).toBe(inSync.length === 1 ? 'sync' : 'wait');
    }
  });

  it.each([
    ['in sync as far as the record tells', { inSync: [a.deployment, b.deployment] }],
    ['the primary', { inSync: [b.deployment], primary: { ...b, incarnation: incarnation(1) } }],
  ])('leaves a damaged copy alone that is %s', (_, membership) => {
    const result = plan({
      membership,
      answers: [
        [a, serving()],
        [b, 'damaged'],
      ],
    });
    expect(result.step).toEqual({ act: 'wait' });
  });

  it('prefers the copy with the least to copy', () => {
    const result = plan({
      volume: { placements: [a, b, c] },
      ...degraded,
      answers: [
        [a, serving()],
        [b, status(b, at(0))],
        [c, status(c, at(990))],
      ],
    });
    expect(result.step).toMatchObject({ act: 'sync', deployment: c.deployment });
  });

  it('tries the next way when one failed a moment ago', () => {
    const failures = { [`sync/${b.deployment}`]: { count: 1, notBeforeMs: NOW + 5_000 } };
    const scene = { volume: { placements: [a, b, c] }, ...degraded };
    const answers: [Placement, CopyAnswer][] = [
      [a, serving()],
      [b, status(b)],
      [c, status(c, at(1))],
    ];
    expect(plan({ ...scene, answers, input: { failures } }).step).toMatchObject({ deployment: c.deployment });
  });

  it('waits for a way that failed once, and goes round one that fails again and again', () => {
    const failed = (count: number) => ({
      failures: { [`sync/${b.deployment}`]: { count, notBeforeMs: NOW + 5_000 } },
    });
    const answers: [Placement, CopyAnswer][] = [
      [a, serving()],
      [b, status(b)],
    ];
    expect(plan({ ...degraded, answers, input: failed(1) }).step.act).toBe('wait');
    expect(plan({ ...degraded, answers, input: failed(HOPELESS_AFTER) }).step.act).toBe('rebuild');
  });

  it('does not count a copy that just left as in sync because it is placed', () => {
    const result = plan({ volume: { replicas: 2, placements: [a, b, c] }, answers: [[a, serving()]] });
    expect(result.summary).toContain('2 of 3');
  });

  it('forgets the copy that is longest away rather than place without end', () => {
    const e = place(5);
    const result = plan({
      volume: { placements: [a, b, c, e] },
      ...degraded,
      answers: [[a, serving()]],
      input: { memory: { missingSince: { [b.deployment]: 3, [c.deployment]: 2, [e.deployment]: 1 } } },
    });
    expect(result.step).toMatchObject({ act: 'remove-copy', deployment: e.deployment });
  });
});

describe('planVolume: beside a running sync', () => {
  const degraded = { volume: { placements: [a, b, c] }, membership: { inSync: [a.deployment] } };

  it('waits, and tells how far it is', () => {
    const result = plan({
      ...degraded,
      answers: [
        [a, serving(syncing(c))],
        [c, status(c)],
      ],
      input: { running: 'sync' },
    });
    expect(result).toMatchObject({ step: { act: 'wait' }, lookAgainMs: settings.runningMs });
    expect(result.summary).toContain('40 %');
  });

  it('knows a sync of the run before this one by the primary', () => {
    expect(
      plan({
        ...degraded,
        answers: [
          [a, serving(syncing(c))],
          [c, status(c)],
        ],
      }).step.act,
    ).toBe('wait');
  });

  it.each([
    ['fewer', 500, 'remove-copy'],
    ['as many', 400, 'wait'],
    ['more', 10, 'wait'],
  ] as const)('the old copy returns with %s blocks to copy', (_, sequence, act) => {
    const answers: [Placement, CopyAnswer][] = [
      [a, serving(syncing(c))],
      [b, status(b, at(sequence))],
      [c, status(c)],
    ];
    const result = plan({ ...degraded, answers, input: { running: 'rebuild' } });
    expect(result.step.act).toBe(act);
    if (act === 'remove-copy') expect(result.step).toMatchObject({ deployment: c.deployment });
  });

  it('goes on although the old copy has fewer blocks to copy, if that can not be synced', () => {
    const answers: [Placement, CopyAnswer][] = [
      [a, serving(syncing(c))],
      [b, status(b, at(500))],
      [c, status(c)],
    ];
    const failed = (count: number) => ({ [`sync/${b.deployment}`]: { count, notBeforeMs: NOW + 5_000 } });
    const actAfter = (count: number) =>
      plan({ ...degraded, answers, input: { running: 'rebuild', failures: failed(count) } }).step.act;
    expect(actAfter(HOPELESS_AFTER - 1)).toBe('remove-copy');
    expect(actAfter(HOPELESS_AFTER)).toBe('wait');
  });

  it('lets both be filled when both are wanted', () => {
    const answers: [Placement, CopyAnswer][] = [
      [a, serving(syncing(c))],
      [b, status(b, at(999))],
      [c, status(c)],
    ];
    const scene = { ...degraded, volume: { replicas: 2, placements: [a, b, c] } };
    expect(plan({ ...scene, answers, input: { running: 'rebuild' } }).step.act).toBe('wait');
  });

  it('a delta sync is not given up for another delta sync', () => {
    const primary = serving(syncing(c, { kind: 'delta' }));
    const answers: [Placement, CopyAnswer][] = [
      [a, primary],
      [b, status(b, at(999))],
      [c, status(c)],
    ];
    expect(plan({ ...degraded, answers, input: { running: 'sync' } }).step.act).toBe('wait');
  });

  it('a dead primary comes before it', () => {
    const result = plan({
      ...degraded,
      answers: [[a, serving({ incarnation: incarnation(2) })]],
      input: { running: 'sync' },
    });
    expect(result.step.act).toBe('failover');
  });
});

describe('planVolume: surplus', () => {
  const answers = (...more: [Placement, CopyAnswer][]): [Placement, CopyAnswer][] => [
    [a, serving()],
    [b, status(b)],
    ...more,
  ];

  it('drops the old copy that returns after the new one is in sync', () => {
    const result = plan({ volume: { placements: [a, b, c] }, answers: answers([c, status(c)]) });
    expect(result.step).toMatchObject({
      act: 'remove-copy',
      deployment: c.deployment,
      reason: 'enough copies are in sync',
    });
  });

  it('keeps one that is away: it may be wanted when it is back', () => {
    expect(plan({ volume: { placements: [a, b, c] }, answers: answers() }).step.act).toBe('wait');
  });

  it('but not on a node that was removed', () => {
    const result = plan({ volume: { placements: [a, b, c] }, answers: answers(), nodes: [a, b] });
    expect(result.step).toMatchObject({ act: 'remove-copy', deployment: c.deployment });
  });

  it('takes it up again when replicas are raised before it returns', () => {
    const result = plan({ volume: { replicas: 2, placements: [a, b, c] }, answers: answers([c, status(c)]) });
    expect(result.step).toMatchObject({ act: 'sync', deployment: c.deployment });
  });

  it('removes members when fewer replicas are wanted, never the primary, rather not where the volume is used', () => {
    const scene = {
      volume: { replicas: 1, placements: [a, b, c] },
      membership: { inSync: [a.deployment, b.deployment, c.deployment] },
      answers: answers([c, status(c)]),
    };
    expect(plan(scene).step).toMatchObject({ act: 'remove-copy', deployment: c.deployment });
    expect(plan({ ...scene, input: { attachedTo: c.node } }).step).toMatchObject({ deployment: b.deployment });
    expect(plan({ ...scene, volume: { ...scene.volume, replicas: 0 } }).step).not.toMatchObject({
      deployment: a.deployment,
    });
  });

  it('removes rather what was named for it, but rather yet what does not answer', () => {
    const scene = {
      volume: { replicas: 1, placements: [a, b, c], evictionCandidates: [b.deployment] },
      membership: { inSync: [a.deployment, b.deployment, c.deployment] },
    };
    expect(plan({ ...scene, answers: answers([c, status(c)]) }).step).toMatchObject({ deployment: b.deployment });
    expect(plan({ ...scene, answers: answers([c, 'unreachable']) }).step).toMatchObject({ deployment: c.deployment });
  });

  it.each([[1], [0]])('removes a replica whose eviction was asked for, with %i replicas wanted', (replicas) => {
    const result = plan({ volume: { replicas, evicting: [b.deployment] }, answers: answers() });
    expect(result.step).toMatchObject({
      act: 'remove-copy',
      deployment: b.deployment,
      reason: 'its eviction was asked for',
    });
  });

  it('but never the primary', () => {
    expect(plan({ volume: { evicting: [a.deployment] }, answers: answers() }).step.act).toBe('wait');
  });

  it('removes a member that is not placed', () => {
    const result = plan({ membership: { inSync: [a.deployment, b.deployment, d.deployment] }, answers: answers() });
    expect(result.step).toMatchObject({ act: 'remove-copy', deployment: d.deployment, reason: 'it is not placed' });
  });
});

describe('actKey', () => {
  it('counts failures for each copy', () => {
    const bare = { primary: a, epoch: 5 as Epoch };
    expect(actKey({ act: 'sync', deployment: b.deployment, ...bare })).toBe(`sync/${b.deployment}`);
    expect(actKey({ act: 'rebuild', placed: b, reason: '', ...bare })).toBe(`rebuild/${b.deployment}`);
    expect(actKey({ act: 'rebuild', reason: '', ...bare })).toBe('rebuild');
    expect(actKey({ act: 'provision' })).toBe('provision');
  });
});
