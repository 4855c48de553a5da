/** Builds the workflow bundle, the one file that a workflow worker loads. TypeScript must be compiled before. */

import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleWorkflows } from '../dist/node-agent/control/bundle-workflows.js';

const build = fileURLToPath(new URL('../build', import.meta.url));
const output = join(build, 'workflows.cjs');
const code = await bundleWorkflows();
mkdirSync(build, { recursive: true });
writeFileSync(`${output}.new`, code);
renameSync(`${output}.new`, output);
