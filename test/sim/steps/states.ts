/**
 * Every state that a system comes to in any order of its steps: states are recognised when they are met again, and of
 * steps that touch different processes one order is taken where the other leads to the same state. Sleep sets with
 * stored states: Godefroid, "Partial-Order Methods for the Verification of Concurrent Systems" (LNCS 1032, 1996),
 * chapter 6. States cannot be brought back: each is come to from the beginning again.
 *
 * Where that is too much: every state that so many deviations from the usual order lead to. Emmi, Qadeer, Rakamarić,
 * "Delay-Bounded Scheduling" (POPL 2011); there, to pass k others over counts k, here 1. Without sleep sets, as of two
 * orders one may need more deviations; and two states are one only if what is usual in them is the same.
 */

/** A step, for whoever wants to know which steps may change places. */
export interface StepInfo {
  readonly name: string;
  /** Whose state it changes or depends upon; undefined: everybody's. */
  readonly touches: readonly string[] | undefined;
  /** Whether what is usual now has to wait for it. */
  readonly deviates?: boolean;
}

/** One run, from the beginning. The same steps lead to the same state. */
export interface System {
  readonly problems: readonly string[];
  /** Equal states have equal ones; so they go on in the same ways. */
  fingerprint(): string;
  /** What may happen now, by names, the usual first; nothing: it is over. What is possible stays so until it, or what touches the same process, is taken. */
  steps(): readonly string[];
  /** What of the state decides which of all that may happen is usual. */
  usualOrder?(): string;
  info(step: string): StepInfo;
  take(step: string): Promise<void>;
  /** Behind the last step: what is wrong. */
  finish(): Promise<readonly string[]>;
}

export interface StatesOptions {
  readonly open: () => Promise<System>;
  /** States at most. */
  readonly limit?: number;
  /** Runs in any order behind the exploration, in which no state may be new. */
  readonly probes?: number;
  /** Chooses one of so many, for them. */
  readonly choose?: (count: number) => number;
  /** Without them every step is taken in every state; so it is with a bound for deviations. */
  readonly sleepSets?: boolean;
  /** At most so many in one run; there are no probes then. */
  readonly deviations?: number;
}

export interface StatesResult {
  readonly states: number;
  /** Steps from one state to another that were taken. */
  readonly transitions: number;
  /** States in which nothing was left to happen. */
  readonly ends: number;
  readonly runs: number;
  /** Longest way to a state. */
  readonly deepest: number;
  /** All that there are, with so many deviations, not only up to the limit. */
  readonly complete: boolean;
  readonly failures: readonly Failure[];
}

interface Failure {
  readonly choices: readonly string[];
  readonly problems: readonly string[];
}

/** A way to a state, from its last step back. */
interface Way {
  readonly step: string;
  readonly before: Way | undefined;
}

/** A step that is to be taken behind a way. `asleep`: what need not be taken behind that, as it was or will be before. */
interface Branch {
  readonly way: Way;
  readonly asleep: readonly StepInfo[];
  /** On the way. */
  readonly deviations: number;
}

interface Reached {
  readonly system: System;
  readonly steps: readonly string[];
  readonly asleep: readonly StepInfo[];
  readonly way: Way | undefined;
  readonly deviations: number;
}

const MAX_FAILURES = 5;

export async function exploreStates(options: StatesOptions): Promise<StatesResult> {
  return new Explorer(options).explore();
}

class Explorer {
  readonly #options: StatesOptions;
  /** What was not taken from a state, as it leads to where other orders lead. */
  readonly #met = new Map<string, readonly string[]>();
  /** By their deviations: a state is met with the fewest first. */
  readonly #branches: Branch[][] = [[]];
  readonly #failures: Failure[] = [];
  #transitions = 0;
  #ends = 0;
  #runs = 0;
  #deepest = 0;

  constructor(options: StatesOptions) {
    this.#options = options;
  }

  async explore(): Promise<StatesResult> {
    const { limit = Number.POSITIVE_INFINITY, probes = 0 } = this.#options;
    await this.#run(undefined);
    while (this.#left !== undefined && this.#met.size < limit && this.#failures.length < MAX_FAILURES) {
      await this.#run(this.#left.pop());
    }
    const complete = this.#left === undefined && this.#failures.length === 0;
    if (complete && !this.#bounded) for (let probe = 0; probe < probes; probe++) await this.#probe();
    return {
      states: this.#met.size,
      transitions: this.#transitions,
      ends: this.#ends,
      runs: this.#runs,
      deepest: this.#deepest,
      complete,
      failures: this.#failures,
    };
  }

  get #bounded(): boolean {
    return this.#options.deviations !== undefined;
  }

  get #left(): Branch[] | undefined {
    return this.#branches.find((branches) => branches.length > 0);
  }

  /** Along a branch, and on by what is usual until nothing is new. */
  async #run(branch: Branch | undefined): Promise<void> {
    this.#runs++;
    const system = await this.#options.open();
    let way = branch?.way;
    let asleep = branch?.asleep ?? [];
    const deviations = branch?.deviations ?? 0;
    for (const step of stepsOf(way)) await system.take(step);
    if (branch !== undefined) this.#transitions++;
    for (let depth = stepsOf(way).length; ; depth++) {
      this.#deepest = Math.max(this.#deepest, depth);
      if (system.problems.length > 0) return this.#fail(way, system.problems);
      const steps = system.steps();
      const state = this.#bounded ? `${system.fingerprint()} ${system.usualOrder?.()}` : system.fingerprint();
      if (steps.length === 0) return this.#met.has(state) ? undefined : this.#end(state, system, way);
      const next = this.#choose(state, { system, steps, asleep, way, deviations });
      if (next === undefined) return;
      ({ way, asleep } = next);
      await system.take(way.step);
      this.#transitions++;
    }
  }

  async #end(state: string, system: System, way: Way | undefined): Promise<void> {
    this.#ends++;
    this.#met.set(state, []);
    const problems = await system.finish();
    if (problems.length > 0) this.#fail(way, problems);
  }

  /** What has to be taken there: the first of it now, the others later. */
  #choose(state: string, { system, steps, asleep, way, deviations }: Reached): Branch | undefined {
    const sleeping = new Set(asleep.map(({ name }) => name));
    // Behind a state that was met before: what slept then, and must not now.
    const wanted = (this.#met.get(state) ?? steps).filter((step) => !sleeping.has(step));
    const left = (this.#met.get(state) ?? [...sleeping]).filter((step) => sleeping.has(step));
    this.#met.set(state, left);
    const before = left.map((step) => system.info(step));
    const { deviations: most = Number.POSITIVE_INFINITY } = this.#options;
    const sleepSets = !this.#bounded && this.#options.sleepSets !== false;
    const [first, ...others] = wanted.map((step): Branch => {
      const info = system.info(step);
      const branch = {
        way: { step, before: way },
        asleep: before.filter((other) => !dependent(info, other)),
        deviations: this.#bounded && info.deviates === true ? deviations + 1 : deviations,
      };
      if (sleepSets) before.push(info);
      return branch;
    });
    for (const branch of others) {
      if (branch.deviations > most) continue;
      this.#branches[branch.deviations] ??= [];
      this.#branches[branch.deviations]!.push(branch);
    }
    return first;
  }

  /** Equal states that go on in different ways, as something of them does not show, would lead to states that are new. */
  async #probe(): Promise<void> {
    const { choose = () => 0 } = this.#options;
    const system = await this.#options.open();
    let way: Way | undefined;
    for (let steps = system.steps(); steps.length > 0; steps = system.steps()) {
      const step = steps[choose(steps.length)]!;
      await system.take(step);
      way = { step, before: way };
      if (!this.#met.has(system.fingerprint())) return this.#fail(way, ['no such state was met before']);
    }
  }

  #fail(way: Way | undefined, problems: readonly string[]): void {
    this.#failures.push({ choices: stepsOf(way), problems });
  }
}

function stepsOf(way: Way | undefined): string[] {
  const steps: string[] = [];
  for (let at = way; at !== undefined; at = at.before) steps.push(at.step);
  return steps.reverse();
}

function dependent(a: StepInfo, b: StepInfo): boolean {
  if (a.touches === undefined || b.touches === undefined) return true;
  return a.touches.some((process) => b.touches!.includes(process));
}
