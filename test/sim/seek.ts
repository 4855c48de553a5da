/**
 * What a mutated tree runs of itself (mutant.ts): seeds of one method, until one of them notices the mistake. Its
 * arguments: the method, the first seed, how many. It answers with one message, and ends with whoever has begun it.
 */

import type { Method, Sought } from './mutant.js';
import { simulate } from './simulation.js';
import { walk } from './steps/walk.js';

interface Outcome {
  readonly problems: readonly string[];
  readonly languageError?: string;
}

const RUNS: Record<Method, (seed: number) => Promise<Outcome>> = {
  walk: (seed) => walk({ seed }),
  simulation: (seed) => simulate({ seed }),
};

const [method, from, seeds] = process.argv.slice(2);
/** Of the seed that runs: it ended in an error that is no check's word. */
let isBroken = false;
let broken = 0;
let error: string | undefined;

function breakWith(reason: unknown): void {
  if (!isBroken) broken++;
  isBroken = true;
  error ??= String(reason);
}

/** How the mistake shows; undefined if nothing was noticed, or nothing that counts. */
async function problemOf(seed: number): Promise<string | undefined> {
  isBroken = false;
  try {
    const { problems, languageError } = await RUNS[method as Method](seed);
    if (languageError !== undefined) breakWith(languageError);
    return isBroken ? undefined : problems[0];
  } catch (reason) {
    // What checks find they return.
    breakWith(reason);
    return undefined;
  }
}

async function seek(first: number, count: number): Promise<Sought> {
  let found: Sought['found'];
  for (let seed = first; seed < first + count && found === undefined; seed++) {
    const problem = await problemOf(seed);
    if (problem !== undefined) found = { seed, problem };
  }
  return { broken, ...(error !== undefined && { error }), ...(found !== undefined && { found }) };
}

process.on('unhandledRejection', breakWith);
process.once('disconnect', () => process.exit(1));
process.send?.(await seek(Number(from), Number(seeds)), () => process.exit(0));
