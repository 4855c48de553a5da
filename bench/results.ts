/** Results of benchmarks, kept in the tree: figures of one machine, whose ratios are what to hold on to. */

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../node-agent/package-root.js';

function about(effort: object): object {
  const { node, v8 } = process.versions;
  // What else the machine did: ratios suffer too where it had no processor left for both sides.
  const loadAverage = loadavg()[0];
  return { node, v8, cpu: cpus()[0]?.model, processors: cpus().length, loadAverage, ...effort };
}

function fileOf(name: string): string {
  const directory = join(packageRoot(), 'bench', 'results');
  mkdirSync(directory, { recursive: true });
  return join(directory, `${name}.json`);
}

/** Writes bench/results/<name>.json. */
export function saveResults(name: string, effort: object, results: object): void {
  writeFileSync(fileOf(name), `${JSON.stringify({ about: about(effort), ...results }, null, 2)}\n`);
}

/** Replaces what bench/results/<name>.json says of one part, for benchmarks whose parts are run by themselves too. */
export function savePart(name: string, part: string, effort: object, results: object): void {
  const file = fileOf(name);
  const others = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as object) : {};
  const all = { ...others, [part]: { about: about(effort), ...results } };
  writeFileSync(file, `${JSON.stringify(all, null, 2)}\n`);
}
