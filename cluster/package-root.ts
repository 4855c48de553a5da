import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

function findRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder);
    if (parent === folder) throw new Error('this program is not where its package.json is');
    folder = parent;
  }
  return folder;
}

/** The project's folder: the same whether this runs as TypeScript under a test or compiled from `dist/`. */
export const packageRoot = findRoot();

/** A compiled module. */
export function compiled(...path: string[]): string {
  return join(packageRoot, 'dist', ...path);
}
