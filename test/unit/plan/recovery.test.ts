import { describe, expect, it } from 'vitest';
import type { Membership } from '../../../core/domain.js';
import type { DeploymentStatus } from '../../../core/messages.js';
import { describeRisk, planRecovery, type RecoveryInput, type SurveyedCopy } from '../../../core/recovery.js';
import type {
  DeploymentId,
  Epoch,
  Generation,
  HistoryEntry,
  Incarnation,
  NodeId,
  Sequence,
  VolumeId,
} from '../../../core/types.js';

const volume = 'v' as VolumeId;
const id = (name: string) => name as DeploymentId;
const nodeOf = (name: string) => `node-${name}` as NodeId;
const entry = (epoch: number, startsAfter: number): HistoryEntry => ({
  epoch: epoch as Epoch,
  startsAfter: startsAfter as Sequence,
});

interface CopyPatch extends Partial<Pick<SurveyedCopy, 'history' | 'syncBase' | 'record'>> {
  readonly promised?: number;
  readonly last?: readonly [epoch: number, sequence: number];
  readonly unclean?: boolean;
  readonly cluster?: string;
}

function copy(name: string, patch: CopyPatch = {}): SurveyedCopy {
  const { promised = 7, last = [6, 100], unclean = false, cluster = 'e1', ...rest } = patch;
  const status: DeploymentStatus = {
    deployment: id(name),
    incarnation: `life of ${name}` as Incarnation,
    promised: promised as Epoch,
    last: { epoch: last[0] as Epoch, sequence: last[1] as Sequence },
    unclean,
    generation: 1 as Generation,
    role: 'member',
    serving: false,
    etcdClusterId: cluster,
    usedBytes: 0,
    badBlocks: 0,
  };
  return { node: nodeOf(name), status, history: [entry(2, 0), entry(6, 90)], syncBase: null, ...rest };
}

function record(epoch: number, patch: Partial<Membership> = {}): Membership {
  return {
    volume,
    epoch: epoch as Epoch,
    primary: { deployment: id('a'), node: nodeOf('a'), incarnation: 'old life' as Incarnation },
    inSync: [id('a'), id('b'), id('c')],
    outOfSync: [],
    history: [entry(2, 0)],
    active: true,
    lossVerifier: 1,
    etcdClusterId: 'e1',
    readOnly: false,
    ...patch,
  };
}

function recover(copies: readonly SurveyedCopy[], patch: Partial<RecoveryInput> = {}) {
  return planRecovery({
    volume,
    record: record(5),
    placements: ['a', 'b', 'c'].map((name) => ({ deployment: id(name), node: nodeOf(name) })),
    copies,
    closed: [],
    silent: [],
    etcdClusterId: 'e1',
    timestamp: 'now',
    ...patch,
  });
}

const kinds = (plan: ReturnType<typeof recover>) => plan.risks.map(({ kind }) => kind);

describe('a recovery', () => {
  it('is not needed where etcd knows all that the copies know', () => {
    const plan = recover([copy('a'), copy('b'), copy('c')], { record: record(7) });
    expect(plan).toMatchObject({ reasons: [], risks: [], next: undefined, adopting: [] });
  });

  it('takes who has promised the latest epoch, and their history, when etcd is behind', () => {
    const plan = recover([copy('a', { promised: 5, last: [4, 95], history: [entry(2, 0)] }), copy('b'), copy('c')]);
    expect(plan.reasons).toEqual(['epoch-behind']);
    expect(plan.risks).toEqual([]);
    expect(plan.next).toMatchObject({
      epoch: 8,
      primary: { deployment: 'b', node: 'node-b', incarnation: 'life of b' },
      inSync: ['b', 'c'],
      outOfSync: [{ deployment: 'a' }],
      history: [entry(2, 0), entry(6, 90)],
      active: false,
      lossVerifier: 1,
    });
  });

  it('does not take a copy for erased that was in sync when nobody else was', () => {
    const newest = record(9, { inSync: [id('a')], etcdClusterId: 'e0' });
    const stale = copy('b', { promised: 4, last: [4, 50], cluster: 'e0', history: [entry(2, 0)] });
    const plan = recover([stale], { record: newest });
    expect(plan.risks).toEqual([{ kind: 'member-missing', deployment: 'a', node: 'node-a' }]);
    // A complete copy that was in sync has everything.
    const both = recover([stale], { record: { ...newest, inSync: [id('a'), id('b')] } });
    expect(both.risks).toEqual([]);
  });

  it('follows the newest record that a running process has seen, if nothing later was promised', () => {
    const seen = record(7, { inSync: [id('b')], lossVerifier: 3 });
    const plan = recover([copy('a'), copy('b', { record: seen }), copy('c')]);
    expect(plan.next).toMatchObject({ epoch: 8, inSync: ['b'], lossVerifier: 3 });
    const old = recover([copy('a'), copy('b', { record: record(6, { inSync: [id('b')] }) }), copy('c')]);
    expect(old.next?.inSync).toEqual(['a', 'b', 'c']);
  });

  it.each<[string, CopyPatch]>([
    ['a longer log', { last: [6, 101] }],
    ['a log of equal length that ends in a later epoch', { last: [7, 100] }],
  ])('names the copy with %s', (_, patch) => {
    expect(recover([copy('a'), copy('b'), copy('c', patch)]).next?.primary.deployment).toBe('c');
  });

  it('does not count what did not survive: a dead tail is no longer log', () => {
    const plan = recover([copy('a', { last: [4, 500] }), copy('b'), copy('c')]);
    expect(plan.next?.primary.deployment).toBe('b');
  });

  it('leaves the primary where it was, if it is as good as the others', () => {
    const plan = recover([copy('a'), copy('b'), copy('c')], {
      record: record(5, { primary: { deployment: id('c'), node: nodeOf('c'), incarnation: 'x' as Incarnation } }),
    });
    expect(plan.next?.primary).toMatchObject({ deployment: 'c', incarnation: 'life of c' });
  });

  it('takes neither an unclean copy nor an incomplete one while there is a better one', () => {
    const base = { epoch: 2 as Epoch, sequence: 3 as Sequence };
    const plan = recover([copy('a', { unclean: true, last: [6, 120] }), copy('b', { syncBase: base }), copy('c')]);
    expect(plan.risks).toEqual([]);
    expect(plan.next).toMatchObject({ primary: { deployment: 'c' }, inSync: ['c'] });
  });

  it('takes the best of bad ones, and says what that loses', () => {
    const plan = recover([
      copy('a', { unclean: true }),
      copy('b', { unclean: true, last: [6, 101] }),
      copy('c', { unclean: true }),
    ]);
    expect(plan.next?.primary.deployment).toBe('b');
    expect(kinds(plan)).toEqual(['unclean']);
    // A frontend with unflushed writes must hear of it.
    expect(plan.next?.lossVerifier).toBe(plan.next?.epoch);
    const base = { epoch: 2 as Epoch, sequence: 3 as Sequence };
    const incomplete = recover([copy('a', { syncBase: base })], {
      placements: [{ deployment: id('a'), node: nodeOf('a') }],
      record: undefined,
    });
    expect(incomplete.risks).toEqual([{ kind: 'incomplete', deployment: 'a', base }]);
  });

  it('names every copy and node that did not answer, and what that may lose', () => {
    const plan = recover([copy('b')], {
      record: record(5, { inSync: [id('a'), id('b')], outOfSync: [{ deployment: id('d'), reason: '', since: '' }] }),
      silent: [nodeOf('a'), nodeOf('x')],
      closed: [{ deployment: id('c'), node: nodeOf('c') }],
    });
    expect(plan.risks).toEqual([
      { kind: 'member-missing', deployment: 'a', node: 'node-a' },
      { kind: 'copy-missing', deployment: 'c', node: 'node-c' },
      { kind: 'node-missing', node: 'node-x' },
    ]);
    for (const risk of plan.risks) expect(describeRisk(risk)).toMatch(/lost/);
    expect(plan.next).toMatchObject({ primary: { deployment: 'b' }, inSync: ['b'] });
  });

  it('asks for nothing because of a copy that the newest record calls lost and that is placed nowhere any more', () => {
    const seen = record(7, { outOfSync: [{ deployment: id('erased'), reason: 'node is away', since: '' }] });
    expect(recover(['a', 'b', 'c'].map((name) => copy(name, { record: seen }))).risks).toEqual([]);
    // One that was in sync is missed wherever it may be.
    const member = record(7, { inSync: [id('a'), id('elsewhere')] });
    expect(recover([copy('a', { record: member })]).risks).toEqual([
      { kind: 'member-missing', deployment: 'elsewhere' },
    ]);
  });

  it('misses no copy that its node says it has not', () => {
    const plan = recover([copy('b')], { silent: [nodeOf('c')] });
    expect(plan.risks).toEqual([{ kind: 'member-missing', deployment: 'c', node: 'node-c' }]);
  });

  it('finds copies that were placed after the snapshot', () => {
    const plan = recover([
      copy('a', { promised: 5 }),
      copy('b', { promised: 5 }),
      copy('c', { promised: 5 }),
      copy('d'),
    ]);
    expect(plan.next).toMatchObject({ primary: { deployment: 'd' }, inSync: ['d'] });
    expect(plan.placements.map(({ deployment }) => deployment)).toEqual(['a', 'b', 'c', 'd']);
  });

  it('makes a record where etcd has none, with a loss verifier that nobody can have seen', () => {
    const plan = recover([copy('a'), copy('b'), copy('c')], { record: undefined });
    expect(plan.reasons).toEqual(['no-record']);
    expect(plan.next).toMatchObject({ epoch: 8, inSync: ['a', 'b', 'c'], lossVerifier: 8 });
  });

  it('tells copies of another etcd, though no epoch is behind', () => {
    const plan = recover([copy('a'), copy('b', { cluster: 'e2' }), copy('c')], {
      record: record(7),
      etcdClusterId: 'e2',
    });
    expect(plan.reasons).toEqual(['other-cluster']);
    expect(plan.adopting.map(({ deployment }) => deployment)).toEqual(['a', 'c']);
    expect(plan.next).toMatchObject({ epoch: 8, inSync: ['a', 'b', 'c'], etcdClusterId: 'e2' });
  });

  it('does nothing without a copy', () => {
    expect(recover([], { record: undefined })).toMatchObject({ reasons: ['no-record'], next: undefined });
  });
});
