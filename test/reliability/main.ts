/** `npm run reliability`: writes docs/reliability.md from docs/reliability/*.jsonl. */

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../node-agent/package-root.js';
import { type CommandShape, runCommand } from '../setup/options.js';
import { parseFindings, parseRuns, report } from './report.js';

const SHAPE: CommandShape = {
  usage: `Usage: npm run reliability
Writes docs/reliability.md from the lines that long runs have appended to docs/reliability/*.jsonl (--json FILE), and
from what was found, findings.jsonl.`,
};
const FINDINGS = 'findings.jsonl';

async function run(): Promise<number> {
  const docs = join(packageRoot(), 'docs');
  const folder = join(docs, 'reliability');
  const files = readdirSync(folder).filter((name) => name.endsWith('.jsonl'));
  const read = (name: string): string => readFileSync(join(folder, name), 'utf8');
  const runs = files.filter((name) => name !== FINDINGS).flatMap((name) => parseRuns(name, read(name)));
  const findings = files.includes(FINDINGS) ? parseFindings(FINDINGS, read(FINDINGS)) : [];
  writeFileSync(join(docs, 'reliability.md'), report(runs, findings));
  process.stdout.write(`docs/reliability.md: ${runs.length} runs, ${findings.length} findings\n`);
  return 0;
}

await runCommand(SHAPE, run);
