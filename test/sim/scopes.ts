/**
 * Small scopes, exhaustively: three copies, two writes, and every pair of a crash, a partition and a promotion, each at
 * every event from the first write to the moment at which both are acknowledged and a little beyond.
 */

import type { Scope } from './scope.js';
import { type SimulationResult, simulate } from './simulation.js';

/** The one schedule that is disturbed: its delays and the nodes' clocks. */
const SEED = 1;
/** Events behind the last acknowledgement. */
const BEYOND = 12;
const NODES = [0, 1];

export function runScope(scope: Scope): Promise<SimulationResult> {
  return simulate({ seed: SEED, scope });
}

/** All scopes; the third node is like the second. `window`: events, by where the volume is attached. */
export function* allScopes(window: readonly number[]): Generator<Scope> {
  for (const attached of NODES) {
    const moments = Array.from({ length: window[attached]! + BEYOND }, (_, at) => at);
    const crashes = moments.flatMap((at) =>
      NODES.flatMap((node) => [false, true].map((power): Pick<Scope, 'crash'> => ({ crash: { node, power, at } }))),
    );
    const cuts = moments.flatMap((at) => NODES.map((node): Pick<Scope, 'cut'> => ({ cut: { node, at } })));
    const promotions = moments.map((at): Pick<Scope, 'promotion'> => ({ promotion: { at } }));
    for (const [first, second] of [
      [crashes, promotions],
      [cuts, promotions],
      [crashes, cuts],
    ] as const) {
      for (const a of first) for (const b of second) yield { attached, ...a, ...b };
    }
  }
}

/** How many events the two writes take when nothing goes wrong. */
export async function undisturbed(): Promise<number[]> {
  const results = await Promise.all(NODES.map((attached) => runScope({ attached })));
  return results.map(({ counts }) => counts['scope events']!);
}
