/** Requests made from the API's own document, right and wrong ones; see docs/api.md. */

import { expect, it } from 'vitest';
import { ensureSchemathesis } from './schemathesis/install.js';
import { runSchemathesis } from './schemathesis/run.js';

const SECONDS = 60;
/** The same requests in every run: what chance finds is for the long command. */
const SEED = 1;

const title = 'nothing that Schemathesis asks is answered by a defect, or as the document does not say';
const found = await ensureSchemathesis();
if ('missing' in found) it.skip(`${title} (skipped: ${found.missing})`, () => {});
else {
  it(title, async () => {
    let output = '';
    const report = (text: string) => {
      output += text;
    };
    const well = await runSchemathesis({ program: found.path, seconds: SECONDS, seed: SEED, report });
    expect(well ? '' : output.slice(-20_000)).toBe('');
  });
}
