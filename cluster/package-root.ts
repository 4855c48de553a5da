import { join } from 'node:path';
import { packageRoot } from '../node-agent/package-root.js';

/** A compiled module. */
export function compiled(...path: string[]): string {
  return join(packageRoot(), 'dist', ...path);
}
