import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DomainError } from '../../core/errors.js';
import { packageRoot } from '../package-root.js';

/** The prebuilt workflow bundle. Errors: DomainError 'internal' if there is none. */
export function workflowBundlePath(): string {
  const path = join(packageRoot(), 'build', 'workflows.cjs');
  if (!existsSync(path)) throw new DomainError('internal', `there is no workflow bundle ${path}: run "npm run build"`);
  return path;
}
