/**
 * What TLC is asked about docs/model/VolumeReplication.tla: with each rule switched off, for a counterexample; with all
 * of them, under several mixtures of faults, for none.
 */

export type Constants = Readonly<Record<string, string | number | boolean>>;

export interface ModelRun {
  readonly name: string;
  readonly constants: Constants;
  readonly invariants: readonly string[];
  /** A state without a successor is an error as well. */
  readonly deadlocks: boolean;
  /** Random walks of so many steps, instead of every state. */
  readonly walk?: number;
  readonly expect: 'counterexample' | 'none';
}

const INVARIANTS = ['NoBad', 'InSyncHolds', 'UniqueOrder', 'NotEmpty', 'Identical', 'OneWriter'];

/** All rules on. `SealFirst` is not a rule but the alternative to R1 that was refuted. */
const RULES: Constants = {
  TwoPhase: true,
  SealFirst: false,
  SealedOnly: true,
  IncCheck: true,
  HistExact: true,
  CompareDead: true,
  KeepTomb: true,
  UseBase: true,
  AddMaybe: true,
  FlushAdd: true,
  Sticky: true,
  CleanOnly: true,
  LossVerifier: true,
  ReadCommitted: true,
  LeaseUse: true,
  GenReplicated: true,
  SessionFence: true,
  MemberClean: true,
  OwnGrants: true,
  NoRollback: true,
  SkipDead: true,
  OwnCounts: true,
};

const BOUNDS: Constants = {
  D: '{a, b, c}',
  Ins0: '{a, b, c}',
  Blocks: '{1}',
  TrimW: '{}',
  NW: 2,
  K1: 9,
  MaxEpoch: 3,
  MaxLog: 3,
  MaxCrash: 0,
  MaxPower: 0,
  MaxSync: 0,
  MaxRemove: 0,
  MaxFlush: 0,
  UseFence: false,
  UseDelay: false,
  UseRead: false,
  UseWf: true,
  OwnAsync: false,
};

const TWO: Constants = { D: '{a, b}', Ins0: '{a, b}' };
/** One copy and the target of a sync; nobody fails over. */
const ONE: Constants = { D: '{a, b}', Ins0: '{a}', UseWf: false, LeaseUse: false };
const NO_LEASES: Constants = { LeaseUse: false };

function off(name: string, constants: Constants, invariants: readonly string[] = INVARIANTS): ModelRun {
  const all = { ...BOUNDS, ...RULES, ...constants };
  return { name, constants: all, invariants, deadlocks: false, expect: 'counterexample' };
}

function on(name: string, constants: Constants, options: { deadlocks?: boolean; walk?: number } = {}): ModelRun {
  const { deadlocks = true, walk } = options;
  const run = { name, constants: { ...BOUNDS, ...RULES, ...constants }, invariants: INVARIANTS, deadlocks };
  return { ...run, expect: 'none', ...(walk === undefined ? {} : { walk }) };
}

/** Each with the smallest bounds that show why the rule is needed; the number is the rule's in findings.md. */
export const FLAWS: readonly ModelRun[] = [
  off('R1-one-transaction', { ...NO_LEASES, NW: 1, MaxCrash: 1, TwoPhase: false, SealedOnly: false }),
  off('R1-sealed-before-asking', { ...TWO, ...NO_LEASES, NW: 1, MaxPower: 1, TwoPhase: false, SealFirst: true }),
  off('R2-incarnation', { ...TWO, ...NO_LEASES, MaxPower: 1, IncCheck: false }, ['UniqueOrder', 'NoBad']),
  off(
    'R3-history',
    { ...NO_LEASES, Ins0: '{a, b}', UseWf: false, MaxRemove: 1, MaxSync: 1, MaxLog: 4, HistExact: false },
    ['NoBad'],
  ),
  off(
    'R4-dead-orders',
    { ...TWO, ...NO_LEASES, MaxSync: 1, MaxLog: 5, CompareDead: false, TwoPhase: false, SealFirst: true },
    ['NoBad'],
  ),
  off('R5-trims', { ...ONE, MaxSync: 1, MaxLog: 4, TrimW: '{2}', KeepTomb: false }, ['NoBad']),
  off('R6-sync-base', { ...ONE, MaxCrash: 1, MaxSync: 2, Blocks: '{1, 2}', MaxLog: 5, UseBase: false }, ['NoBad']),
  off('R7-unknown-addition', { ...ONE, NW: 1, MaxSync: 1, AddMaybe: false }),
  off('R8-flush-before-addition', { ...ONE, NW: 1, MaxSync: 1, MaxPower: 1, MaxFlush: 1, FlushAdd: false }),
  off('R9-unclean-mark', { ...TWO, ...NO_LEASES, NW: 1, MaxPower: 1, Sticky: false }),
  off('R10-clean-candidate', { ...TWO, ...NO_LEASES, NW: 1, MaxPower: 1, CleanOnly: false }, [
    'NoBad',
    'InSyncHolds',
    'Identical',
  ]),
  off('R11-loss-verifier', { ...ONE, UseWf: true, NW: 1, MaxPower: 1, MaxFlush: 1, LossVerifier: false }),
  off('R12-read-committed', { ...TWO, NW: 1, MaxLog: 1, UseRead: true, UseFence: true, ReadCommitted: false }, [
    'NoBad',
  ]),
  off(
    'R13-generation',
    { ...TWO, NW: 1, MaxLog: 1, UseRead: true, UseFence: true, UseDelay: true, GenReplicated: false },
    ['NoBad'],
  ),
  off('R14-sessions', { ...ONE, UseDelay: true, SessionFence: false }),
  off('R15-clean-members', { ...TWO, ...NO_LEASES, NW: 1, MaxPower: 1, MaxFlush: 1, MemberClean: false }),
  off('R16-own-grants', { ...TWO, NW: 1, MaxLog: 1, UseRead: true, OwnGrants: false }, ['NoBad']),
  off('R17-no-rollback', { ...NO_LEASES, TwoPhase: false, SealedOnly: false, NoRollback: false }, ['InSyncHolds']),
  off('R19-own-append', { ...TWO, ...NO_LEASES, NW: 1, MaxCrash: 1, MaxRemove: 1, OwnAsync: true, OwnCounts: false }),
  off('leases', { ...TWO, NW: 1, UseRead: true, LeaseUse: false }, ['NoBad']),
];

export const RULES_ON: readonly ModelRun[] = [
  on(
    'sync',
    { ...ONE, MaxCrash: 1, MaxPower: 1, MaxFlush: 1, MaxSync: 2, Blocks: '{1, 2}', MaxLog: 5, MaxRemove: 1 },
    { deadlocks: false },
  ),
  on('leases', { ...TWO, UseRead: true, NW: 1, MaxLog: 2 }),
  on('fence', { ...TWO, UseRead: true, UseFence: true, K1: 1, LeaseUse: false, MaxEpoch: 2 }),
  on('power', { ...TWO, ...NO_LEASES, NW: 1, MaxLog: 2, MaxEpoch: 4, MaxPower: 1, MaxFlush: 1 }),
  on('crash', { ...TWO, ...NO_LEASES, NW: 1, MaxLog: 2, MaxEpoch: 4, MaxCrash: 1, MaxRemove: 1 }),
  on('return', { ...TWO, ...NO_LEASES, MaxLog: 5, MaxEpoch: 4, MaxSync: 1 }),
  on('own-crash', { ...TWO, ...NO_LEASES, NW: 1, MaxLog: 2, MaxCrash: 1, MaxRemove: 1, OwnAsync: true }),
  on(
    'own-sync',
    { ...ONE, MaxCrash: 1, MaxFlush: 1, MaxSync: 2, Blocks: '{1, 2}', MaxLog: 5, OwnAsync: true },
    { deadlocks: false },
  ),
  on('three', { ...NO_LEASES, NW: 1, MaxLog: 2, MaxCrash: 1 }),
];

/** Every fault, two failovers and more, three copies: far too many states for anything but walks. Give it hours. */
export const WALKS: readonly ModelRun[] = [
  on(
    'walk',
    {
      NW: 3,
      K1: 2,
      Blocks: '{1, 2}',
      MaxEpoch: 9,
      MaxLog: 8,
      MaxCrash: 2,
      MaxPower: 1,
      MaxSync: 2,
      MaxRemove: 2,
      MaxFlush: 2,
      UseFence: true,
      UseDelay: true,
      UseRead: true,
      OwnAsync: true,
    },
    { walk: 80, deadlocks: false },
  ),
];

/** Symmetric deployments need to be told apart once only: those that begin alike, all but the first primary. */
export function isSymmetric({ constants }: ModelRun): boolean {
  return constants.D === '{a, b, c}' && (constants.Ins0 === '{a, b, c}' || constants.Ins0 === '{a}');
}

/** TLC's configuration file. */
export function configuration(run: ModelRun): string {
  const value = (constant: string | number | boolean): string =>
    typeof constant === 'boolean' ? String(constant).toUpperCase() : String(constant);
  const deployments = String(run.constants.D).replace(/[{} ]/g, '').split(',');
  return [
    'SPECIFICATION Spec',
    'CONSTANTS',
    ...deployments.map((deployment) => `  ${deployment} = ${deployment}`),
    '  P0 = a',
    ...Object.entries(run.constants).map(([name, constant]) => `  ${name} = ${value(constant)}`),
    ...(isSymmetric(run) && run.walk === undefined ? ['SYMMETRY Sym'] : []),
    'INVARIANTS',
    ...run.invariants.map((invariant) => `  ${invariant}`),
    '',
  ].join('\n');
}
