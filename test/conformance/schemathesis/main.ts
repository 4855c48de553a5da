/** `npm run schemathesis -- --minutes 10 [--seed 1]`: the same as in the tests, for longer. */

import { parseArgs } from 'node:util';
import { ensureSchemathesis } from './install.js';
import { runSchemathesis } from './run.js';

const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '10' }, seed: { type: 'string', default: String(Date.now() % 1e6) } },
});
const minutes = Number(values.minutes);
const seed = Number(values.seed);
if (!(minutes > 0) || !Number.isSafeInteger(seed)) {
  process.stderr.write('usage: npm run schemathesis -- [--minutes N] [--seed N]\n');
  process.exit(2);
}
const found = await ensureSchemathesis();
if ('missing' in found) {
  process.stderr.write(`Schemathesis cannot be obtained: ${found.missing}\n`);
  process.exit(1);
}
const report = (text: string) => process.stdout.write(text);
const well = await runSchemathesis({ program: found.path, seconds: minutes * 60, seed, report });
process.exitCode = well ? 0 : 1;
