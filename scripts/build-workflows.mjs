/** Builds the workflow bundle: workflows/ with what it imports, into the one file that a workflow worker loads. */

import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleWorkflowCode } from '@temporalio/worker';

const root = fileURLToPath(new URL('..', import.meta.url));
const output = join(root, 'build', 'workflows.cjs');

const silent = () => {};
const { code } = await bundleWorkflowCode({
  workflowsPath: join(root, 'workflows', 'index.ts'),
  // Imports name the compiled files.
  webpackConfigHook: (config) => ({
    ...config,
    resolve: { ...config.resolve, extensionAlias: { '.js': ['.ts', '.js'] } },
  }),
  logger: {
    log: silent,
    trace: silent,
    debug: silent,
    info: silent,
    warn: (message, meta) => console.error(message, meta ?? ''),
    error: (message, meta) => console.error(message, meta ?? ''),
  },
});
mkdirSync(join(root, 'build'), { recursive: true });
writeFileSync(`${output}.new`, code);
renameSync(`${output}.new`, output);
