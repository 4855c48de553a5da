/**
 * `npm run sim:scopes -- [--stride N] [--jobs J]`: small scopes, exhaustively: three copies, two writes, and every pair
 * of a crash, a partition and a promotion, each at every event from the first write to the moment at which both are
 * acknowledged and a little beyond. With a stride, every N-th of these scopes.
 */

import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
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

function option(name: string, fallback: number): number {
  const i = process.argv.indexOf(`--${name}`);
  return i < 0 ? fallback : Number(process.argv[i + 1]);
}

async function main(): Promise<void> {
  const stride = option('stride', 1);
  const window = await undisturbed();
  const scopes = allScopes(window);
  let [number, run, failed] = [0, 0, 0];
  const take = (): Scope | undefined => {
    for (let next = scopes.next(); !next.done; next = scopes.next()) if (number++ % stride === 0) return next.value;
    return undefined;
  };
  const startedAt = performance.now();
  const worker = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const thread = new Worker(fileURLToPath(import.meta.url));
      const give = (): void => {
        const scope = take();
        if (scope === undefined) void thread.terminate().then(() => resolve());
        else thread.postMessage(scope);
      };
      thread.on('message', ({ scope, problems }: { scope: Scope; problems: readonly string[] }) => {
        run++;
        if (problems.length > 0) {
          failed++;
          console.log(`FAILED ${JSON.stringify(scope)}:\n  ${problems.slice(0, 3).join('\n  ')}`);
        }
        give();
      });
      thread.once('error', reject);
      give();
    });
  await Promise.all(Array.from({ length: option('jobs', availableParallelism()) }, worker));
  const seconds = (performance.now() - startedAt) / 1000;
  console.log(
    `${run} of ${number} scopes over ${window.join(' and ')} events, ${failed} failed, ${seconds.toFixed(1)} s`,
  );
  process.exitCode = failed > 0 ? 1 : 0;
}

function work(port: NonNullable<typeof parentPort>): void {
  port.on('message', (scope: Scope) => {
    void runScope(scope).then(({ problems }) => port.postMessage({ scope, problems }));
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (isMainThread) await main();
  else if (parentPort !== null) work(parentPort);
}
