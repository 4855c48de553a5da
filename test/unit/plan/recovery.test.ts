import { describe, expect, it } from 'vitest';
import type { Membership } from '../../../core/domain.js';
import { activate, nameCandidate } from '../../../core/membership.js';
import type { DeploymentStatus } from '../../../core/messages.js';
import { isDead } from '../../../core/order.js';
import {
  describeRisk,
  planRecovery,
  type RecoveryInput,
  type SurveyedCopy,
  UNSEEN_EPOCHS,
} from '../../../core/recovery.js';
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
    unsure: [],
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
      // What came between may have been a loss, of which a frontend that was away then has yet to hear.
      lossVerifier: 8,
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

  it('takes a complete copy of before for one whose sync was not finished, and has all others made anew', () => {
    const base = { epoch: 0 as Epoch, sequence: 0 as Sequence };
    const older = copy('b', { promised: 5, last: [4, 95], history: [entry(2, 0), entry(4, 80)] });
    const oldest = copy('c', { promised: 3, last: [2, 200], history: [entry(2, 0)] });
    const plan = recover([copy('a', { last: [6, 120], syncBase: base }), older, oldest]);
    expect(plan.risks).toEqual([{ kind: 'outdated', deployment: 'b', last: { epoch: 4, sequence: 95 } }]);
    // Of what the others know, its history says nothing: they would take their writes for its own.
    expect(plan.next).toMatchObject({
      primary: { deployment: 'b' },
      inSync: ['b'],
      outOfSync: [],
      history: [entry(2, 0), entry(4, 80)],
      epoch: 7 + UNSEEN_EPOCHS,
    });
    expect(plan.placements.map(({ deployment }) => deployment)).toEqual(['b']);
    expect(plan.abandoned.map(({ deployment }) => deployment)).toEqual(['a', 'c']);
    expect(describeRisk(plan.risks[0]!)).toMatch(/behind order \(4, 95\) is lost.*made anew/);
  });

  it.each<[string, CopyPatch, string?]>([
    ['one that was made and never written', { promised: 0, last: [0, 0], history: [] }],
    ['one in which every block is older', { promised: 5, last: [4, 94] }],
    ['one that is placed nowhere', { promised: 5, last: [4, 99] }, 'x'],
  ])('takes a copy that is nearly up to date before %s', (_, patch, name = 'c') => {
    const base = { epoch: 6 as Epoch, sequence: 95 as Sequence };
    const known = { record: record(5, { inSync: [id('a')] }), silent: [nodeOf('a')] };
    const nearly = copy('b', { promised: UNSEEN_EPOCHS, syncBase: base });
    const plan = recover([nearly, copy(name, patch)], known);
    expect(plan.next).toMatchObject({ primary: { deployment: 'b' }, inSync: ['b'] });
    expect(kinds(plan)).toEqual(['member-missing', 'incomplete']);
  });

  it('takes of copies of before the one that was in sync last, clean or not', () => {
    const base = { epoch: 2 as Epoch, sequence: 3 as Sequence };
    const later = copy('b', { promised: 6, last: [4, 95], unclean: true });
    const plan = recover([copy('a', { syncBase: base }), later, copy('c', { promised: 5, last: [4, 90] })]);
    expect(plan.next?.primary.deployment).toBe('b');
    expect(kinds(plan)).toEqual(['outdated', 'unclean']);
  });

  it('takes an incomplete copy when there is no other, and none keeps blocks of which that knows nothing', () => {
    const base = { epoch: 2 as Epoch, sequence: 3 as Sequence };
    const plan = recover([copy('a', { syncBase: base }), copy('b', { last: [6, 90], syncBase: base })]);
    expect(kinds(plan)).toEqual(['incomplete']);
    expect(plan.next).toMatchObject({ primary: { deployment: 'a' }, inSync: ['a'] });
    // The third is placed and was erased, or will be.
    expect(plan.abandoned.map(({ deployment }) => deployment)).toEqual(['b', 'c']);
  });

  it('names every copy and node that did not answer, and what that may lose', () => {
    const plan = recover([copy('b')], {
      record: record(5, { inSync: [id('a'), id('b')], outOfSync: [{ deployment: id('d'), reason: '', since: '' }] }),
      silent: [nodeOf('a'), nodeOf('x')],
      closed: [{ deployment: id('c'), node: nodeOf('c') }],
    });
    expect(plan.risks).toEqual([
      { kind: 'member-missing', deployment: 'a', node: 'node-a' },
      { kind: 'copy-missing', deployment: 'c', node: 'node-c', closed: true },
      { kind: 'node-missing', node: 'node-x' },
    ]);
    for (const risk of plan.risks) expect(describeRisk(risk)).toMatch(/lost/);
    const [away, closed] = plan.risks.map(describeRisk);
    expect(away).toMatch(/does not answer .*off.* erased when it comes back$/);
    // Its node answers; it may be there in a moment.
    expect(closed).toMatch(/is not open \(being opened.* it is erased$/);
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

  it('takes no word for it that a copy was erased, where no record has been seen or its node cannot read all it has', () => {
    const copies = [copy('a'), copy('b')];
    const missing = { kind: 'copy-missing', deployment: 'c', node: 'node-c' };
    expect(recover(copies).risks).toMatchObject([]);
    expect(recover(copies, { record: undefined }).risks).toEqual([missing]);
    expect(recover(copies, { record: record(5, { inSync: [id('a')] }), unsure: [nodeOf('c')] }).risks).toEqual([
      missing,
    ]);
    expect(recover(copies, { record: record(5, { inSync: [id('a')] }), unsure: [nodeOf('x')] }).risks).toEqual([]);
  });

  describe('of which a loss is accepted', () => {
    const both = ['a', 'c'].map((name) => ({ deployment: id(name), node: nodeOf(name) }));
    const confirmed = (name: string) => ({ confirmed: new Set([id(name)]), lossy: false, reason: () => '' });
    const start = record(2, { inSync: [id('a'), id('c')] });
    const a = copy('a', { promised: 2, last: [2, 120], history: start.history });
    /** c went on alone, under an epoch that only etcd knew beside it. */
    const alone = activate(nameCandidate(start, { ...both[1]!, incarnation: 'next' as Incarnation }), {
      ...confirmed('c'),
      startsAfter: 100 as Sequence,
      timestamp: '',
    });
    const absentC = { record: undefined, placements: both, silent: [nodeOf('c')] };

    it('begins behind every epoch that an absent copy can have used', () => {
      const { next, risks } = recover([a], absentC);
      expect(risks).toEqual([{ kind: 'copy-missing', deployment: 'c', node: 'node-c' }]);
      expect(next?.epoch).toBe(2 + UNSEEN_EPOCHS);
      const now = activate(next!, { ...confirmed('a'), startsAfter: 120 as Sequence, timestamp: '' });
      // What c wrote and a never had is dead, and c neither is ahead of etcd nor better than a.
      expect(isDead({ epoch: alone.epoch, sequence: 121 as Sequence }, now.history)).toBe(true);
      const c = copy('c', { promised: alone.epoch, last: [alone.epoch, 500], history: alone.history });
      const running = copy('a', { promised: now.epoch, last: [now.epoch, 130], history: now.history, record: now });
      expect(recover([running, c], { record: now, placements: both }).reasons).toEqual([]);
      const again = recover([running, c], { record: undefined, placements: both });
      expect(again).toMatchObject({ risks: [], next: { primary: { deployment: 'a' }, inSync: ['a'] } });
      expect(again.next?.lossVerifier).toBe(next?.lossVerifier);
    });

    it('gives up the absent copies: where their logs part from the others is not known', () => {
      const plan = recover([a], absentC);
      expect(plan.abandoned).toEqual([both[1]]);
      expect(plan.placements).toEqual([both[0]]);
      expect(plan.next?.outOfSync).toEqual([]);
      // Those that are there stay, though they are stale, and so do all where nothing is missing.
      const stale = recover([copy('a'), copy('b', { promised: 3, last: [3, 5] })], { silent: [nodeOf('c')] });
      expect(stale.placements.map(({ deployment }) => deployment)).toEqual(['a', 'b']);
      expect(recover([copy('a', { unclean: true }), copy('b'), copy('c')]).abandoned).toEqual([]);
    });

    it('never takes in a copy again that nobody knew of then', () => {
      const next = 5 + UNSEEN_EPOCHS;
      const copies = [copy('a', { promised: next, last: [next, 130] }), copy('c', { promised: 6 })];
      const alone = { record: undefined, placements: [both[0]!] };
      expect(recover(copies, alone).placements).toEqual([both[0]]);
      // One that is placed is brought up to date.
      expect(recover(copies, { ...alone, placements: both }).placements).toEqual(both);
    });

    it('is refused if a copy tells of epochs that leave no room', () => {
      const last = copy('a', { promised: Number.MAX_SAFE_INTEGER });
      expect(() => recover([last, copy('b'), copy('c')])).toThrow(/epoch/);
    });
  });

  it('does nothing without a copy', () => {
    expect(recover([], { record: undefined })).toMatchObject({ reasons: ['no-record'], next: undefined });
  });
});
