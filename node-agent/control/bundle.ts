import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DomainError } from '../../core/errors.js';

/** The folder of this installation. Errors: DomainError 'internal' if there is none. */
export function packageRoot(): string {
  let directory = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(directory, 'package.json'))) {
    const parent = dirname(directory);
    if (parent === directory) throw new DomainError('internal', 'no package.json above the agent: it is not installed');
    directory = parent;
  }
  return directory;
}

/** The prebuilt workflow bundle. Errors: DomainError 'internal' if there is none. */
export function workflowBundlePath(): string {
  const path = join(packageRoot(), 'build', 'workflows.cjs');
  if (!existsSync(path)) throw new DomainError('internal', `there is no workflow bundle ${path}: run "npm run build"`);
  return path;
}
