/** What many simulated clusters went through, in a table. */

import type { SimulationResult } from './simulation.js';

/** Counts by what they tell of; what no group has comes at the end. */
const GROUPS: Readonly<Record<string, readonly string[]>> = {
  clusters: ['nodes', 'volumes', 'copies', 'frontends'],
  work: ['operations', 'operations done', 'messages', 'events'],
  crashes: ['kill', 'killPrimary', 'killAll', 'restart', 'pause'],
  'power cuts': ['power', 'powerPrimary', 'powerOfMost', 'blackout'],
  networks: ['partition', 'oneWay', 'isolate', 'split', 'triangle', 'frontendCut'],
  etcd: ['etcdDown', 'etcdTrouble', 'unknown swaps', 'membership changes', 'recoveries', 'accepted losses'],
  disks: ['fullDisk', 'slowDisk', 'stuckDisk', 'syncFailure', 'store failures', 'rot', 'misdirected'],
  blocks: ['blocks healed', 'blocks lost'],
  control: ['promotions', 'delta syncs', 'full syncs', 'rebuilds', 'copies erased', 'erasures that failed', 'losses'],
  people: ['reattach', 'suspicion', 'failureMode', 'replicas', 'aftershocks'],
};
const WIDTH = 10;
/** For docs/reliability.md. */
const RECORDED: Readonly<Record<string, readonly string[]>> = {
  nodes: ['nodes'],
  volumes: ['volumes'],
  copies: ['copies'],
  operations: ['operations'],
  messages: ['messages'],
  crashes: GROUPS.crashes!,
  powerCuts: GROUPS['power cuts']!,
  partitions: GROUPS.networks!,
  etcdFaults: ['etcdDown', 'etcdTrouble'],
  diskFaults: ['fullDisk', 'slowDisk', 'stuckDisk', 'syncFailure', 'rot', 'misdirected'],
  membershipChanges: ['membership changes'],
  promotions: ['promotions'],
  deltaSyncs: ['delta syncs'],
  fullSyncs: ['full syncs'],
  rebuilds: ['rebuilds'],
  blocksHealed: ['blocks healed'],
  reportedLosses: ['losses'],
  recoveries: ['recoveries'],
  acceptedLosses: ['accepted losses'],
};

export class Summary {
  readonly failed: number[] = [];
  readonly #totals: Record<string, number> = {};
  readonly #sizes: Record<number, number> = {};
  #virtualMs = 0;

  /** A failed seed is told at once, with the command that replays it. */
  add(result: SimulationResult): void {
    for (const [what, count] of Object.entries(result.counts)) this.#totals[what] = (this.#totals[what] ?? 0) + count;
    this.#sizes[result.copies] = (this.#sizes[result.copies] ?? 0) + 1;
    this.#virtualMs += result.virtualMs;
    if (result.problems.length === 0) return;
    this.failed.push(result.seed);
    console.log(`seed ${result.seed} FAILED after ${Math.round(result.virtualMs)} ms:`);
    for (const problem of result.problems.slice(0, 5)) console.log(`  ${problem}`);
    console.log(`  replay: npm run sim -- --from ${result.seed} --seeds 1 --trace`);
  }

  get virtualSeconds(): number {
    return Math.round(this.#virtualMs / 1000);
  }

  /** What is remembered of a run, by names in camel case. */
  get totals(): Readonly<Record<string, number>> {
    const sum = (names: readonly string[]): number =>
      names.reduce((total, name) => total + (this.#totals[name] ?? 0), 0);
    return Object.fromEntries(Object.entries(RECORDED).map(([name, counted]) => [name, sum(counted)]));
  }

  print(seeds: number, from: number, seconds: number): void {
    const grouped = new Set(Object.values(GROUPS).flat());
    const rest = Object.keys(this.#totals).filter((what) => !grouped.has(what));
    for (const [group, names] of Object.entries({ ...GROUPS, other: rest })) {
      const counts = names.map((name) => `${name} ${(this.#totals[name] ?? 0).toLocaleString('en-US')}`);
      if (counts.length > 0) console.log(`${group.padEnd(WIDTH)} ${counts.join(', ')}`);
    }
    const sizes = Object.entries(this.#sizes).map(([copies, count]) => `${count} of ${copies}`);
    console.log(`${'sizes'.padEnd(WIDTH)} ${sizes.join(', ')} copies; ${this.virtualSeconds} s of virtual time`);
    console.log(`${seeds} seeds from ${from}, ${this.failed.length} failed, ${seconds.toFixed(1)} s`);
  }
}
