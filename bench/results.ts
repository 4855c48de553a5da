/** Results of benchmarks, kept in the tree: figures of one machine, whose ratios are what to hold on to. */

import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../node-agent/package-root.js';

/** Writes bench/results/<name>.json. */
export function saveResults(name: string, effort: object, results: object): void {
  const directory = join(packageRoot(), 'bench', 'results');
  mkdirSync(directory, { recursive: true });
  const { node, v8 } = process.versions;
  // What else the machine did: ratios suffer too where it had no processor left for both sides.
  const loadAverage = loadavg()[0];
  const about = { node, v8, cpu: cpus()[0]?.model, processors: cpus().length, loadAverage, ...effort };
  writeFileSync(join(directory, `${name}.json`), `${JSON.stringify({ about, ...results }, null, 2)}\n`);
}
