/** Builds the workflow bundle: dist/workflows, compiled by `tsc -p .`, into one file that a workflow worker loads. */

import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleWorkflowCode } from '@temporalio/worker';

const root = fileURLToPath(new URL('..', import.meta.url));
const output = join(root, 'build', 'workflows.cjs');

const logger = Object.fromEntries(
  ['trace', 'debug', 'info', 'log']
    .map((level) => [level, () => {}])
    .concat(['warn', 'error'].map((level) => [level, (message, meta) => console.error(message, meta ?? '')])),
);
const { code } = await bundleWorkflowCode({ workflowsPath: join(root, 'dist', 'workflows', 'index.js'), logger });
mkdirSync(join(root, 'build'), { recursive: true });
writeFileSync(`${output}.new`, code);
renameSync(`${output}.new`, output);
