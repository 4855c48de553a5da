import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DomainError } from '../core/errors.js';

/**
 * The folder of this installation, with package.json: the same from the sources under a test as compiled from
 * `dist/`. Errors: DomainError 'internal' if there is none.
 */
export function packageRoot(): string {
  let directory = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(directory, 'package.json'))) {
    const parent = dirname(directory);
    if (parent === directory)
      throw new DomainError('internal', 'no package.json above this program: it is not installed');
    directory = parent;
  }
  return directory;
}
