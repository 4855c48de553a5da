/**
 * Every order of the steps of a system, by running it once for each: stateless model checking with dynamic partial-order
 * reduction, the source-DPOR of Abdulla, Aronis, Jonsson and Sagonas ("Optimal Dynamic Partial Order Reduction", POPL
 * 2014). Steps that touch different processes commute: of all orders that differ in such pairs only, one is run.
 */

/** A step, for whoever wants to know which steps may change places. */
export interface StepInfo {
  readonly name: string;
  /** Whose state it changes or depends upon; undefined: everybody's. */
  readonly touches: readonly string[] | undefined;
  /** The step that made it possible; -1: none since the beginning. */
  readonly cause: number;
  /** It is possible only when nothing else is, so that it cannot come earlier. */
  readonly last: boolean;
}

/** One run, from the beginning. The same steps lead to the same state. */
export interface System {
  readonly problems: readonly string[];
  /** What may happen now, by names, the usual first; nothing: it is over. What is possible stays so until it is taken. */
  steps(): readonly string[];
  info(step: string): StepInfo;
  /** `number`: of this step, which what it causes refers to. */
  take(step: string, number: number): Promise<void>;
  /** Behind the last step: what is wrong. */
  finish(): Promise<readonly string[]>;
}

export interface OrdersOptions {
  readonly open: () => Promise<System>;
  /** Executions at most. */
  readonly limit?: number;
  readonly report?: (executions: number) => void;
}

export interface OrdersResult {
  /** Different orders that were run to their end. */
  readonly executions: number;
  /** Runs that turned out to be the same as an earlier one. */
  readonly redundant: number;
  readonly steps: number;
  readonly deepest: number;
  /** All that there are, not only up to the limit. */
  readonly complete: boolean;
  readonly failures: readonly { readonly choices: readonly string[]; readonly problems: readonly string[] }[];
}

/** A choice on the way. */
interface Frame {
  /** What was possible. */
  readonly steps: readonly string[];
  /** Explored already in an order that is the same, or from here. */
  readonly asleep: Map<string, StepInfo>;
  /** To be explored from here. */
  readonly wanted: Set<string>;
  taken: StepInfo;
  /** The steps that happened before what was taken, by cause and by what they touch: one bit each. */
  past: bigint;
}

const MAX_FAILURES = 5;
const REPORT_EVERY = 1_000;

export async function explore(options: OrdersOptions): Promise<OrdersResult> {
  return new Explorer(options).explore();
}

class Explorer {
  readonly #options: OrdersOptions;
  readonly #frames: Frame[] = [];
  readonly #failures: { choices: string[]; problems: readonly string[] }[] = [];
  #executions = 0;
  #redundant = 0;
  #steps = 0;
  #deepest = 0;

  constructor(options: OrdersOptions) {
    this.#options = options;
  }

  async explore(): Promise<OrdersResult> {
    const { limit = Number.POSITIVE_INFINITY } = this.#options;
    let more = true;
    while (more && this.#executions < limit && this.#failures.length < MAX_FAILURES) {
      await this.#execute();
      more = this.#backtrack();
    }
    return {
      executions: this.#executions,
      redundant: this.#redundant,
      steps: this.#steps,
      deepest: this.#deepest,
      complete: !more,
      failures: this.#failures,
    };
  }

  /** Along the frames, the last of which is new, then on by what is usual. */
  async #execute(): Promise<void> {
    const system = await this.#options.open();
    const known = this.#frames.length - 1;
    for (let depth = 0; ; depth++) {
      const steps = system.steps();
      if (steps.length === 0 || system.problems.length > 0) break;
      let frame = this.#frames[depth];
      if (frame === undefined) {
        frame = this.#extend(depth, steps, system);
        if (frame === undefined) {
          this.#redundant++;
          return;
        }
        this.#frames.push(frame);
      } else if (!steps.includes(frame.taken.name)) {
        throw new Error(`${frame.taken.name} cannot be repeated as step ${depth}`);
      }
      if (depth >= known) {
        frame.taken = system.info(frame.taken.name);
        this.#meet(depth);
      }
      await system.take(frame.taken.name, depth);
      this.#steps++;
    }
    this.#deepest = Math.max(this.#deepest, this.#frames.length);
    this.#executions++;
    const problems = await system.finish();
    if (problems.length > 0) this.#failures.push({ choices: this.#frames.map(({ taken }) => taken.name), problems });
    if (this.#executions % REPORT_EVERY === 0) this.#options.report?.(this.#executions);
  }

  #extend(depth: number, steps: readonly string[], system: System): Frame | undefined {
    const asleep = new Map<string, StepInfo>();
    const before = this.#frames[depth - 1];
    for (const [name, info] of before?.asleep ?? []) if (!dependent(info, before!.taken)) asleep.set(name, info);
    const name = steps.find((step) => !asleep.has(step));
    return name === undefined
      ? undefined
      : { steps, asleep, wanted: new Set([name]), taken: system.info(name), past: 0n };
  }

  /** Finds the earlier steps that the one at `depth` might have come before, and wants that tried. */
  #meet(depth: number): void {
    const frame = this.#frames[depth]!;
    const { taken } = frame;
    let past = taken.cause < 0 ? 0n : this.#frames[taken.cause]!.past | bit(taken.cause);
    const causes = past;
    const rivals: number[] = [];
    for (let i = depth - 1; i >= 0; i--) {
      const earlier = this.#frames[i]!;
      if (!dependent(earlier.taken, taken) || (past & bit(i)) !== 0n) continue;
      // Nothing that happened between them came from the one and leads to the other.
      if (!taken.last && earlier.taken.name !== taken.name && (causes & bit(i)) === 0n) rivals.push(i);
      past |= earlier.past | bit(i);
    }
    frame.past = past;
    for (const rival of rivals) this.#reverse(rival, depth);
  }

  /** From before `rival`: what does not depend on it, up to the step at `depth`. One of the first of these is wanted. */
  #reverse(rival: number, depth: number): void {
    const { wanted, steps, asleep } = this.#frames[rival]!;
    let free = 0n;
    const firsts: string[] = [];
    for (let i = rival + 1; i <= depth; i++) {
      const { past, taken } = this.#frames[i]!;
      if (i < depth && (past & bit(rival)) !== 0n) continue;
      if ((past & free) === 0n) firsts.push(taken.name);
      free |= bit(i);
    }
    if (firsts.some((name) => wanted.has(name) || asleep.has(name))) return;
    const first = firsts.find((name) => steps.includes(name));
    if (first !== undefined) wanted.add(first);
    else for (const step of steps) wanted.add(step);
  }

  /** To the last choice with an alternative that is wanted; false if there is none. */
  #backtrack(): boolean {
    for (let frame = this.#frames.at(-1); frame !== undefined; frame = this.#frames.at(-1)) {
      const { asleep, wanted, taken } = frame;
      asleep.set(taken.name, taken);
      const next = [...wanted].find((name) => !asleep.has(name));
      if (next !== undefined) {
        frame.taken = { ...taken, name: next };
        return true;
      }
      this.#frames.pop();
    }
    return false;
  }
}

function bit(i: number): bigint {
  return 1n << BigInt(i);
}

function dependent(a: StepInfo, b: StepInfo): boolean {
  if (a.touches === undefined || b.touches === undefined) return true;
  return a.touches.some((process) => b.touches!.includes(process));
}
