/** Obtains Schemathesis (PyPI) once, into a Python environment of its own in the cache folder. */

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { binaryCache } from '../../../cluster/binaries.js';

const execute = promisify(execFile);

const VERSION = '4.32.5';
const INSTALL_TIMEOUT_MS = 300_000;

/** Debian's Python first: another one in PATH may lack what is needed. */
const PYTHONS = ['/usr/bin/python3', 'python3'];

/** The program's path, or why it cannot be had here. */
export async function ensureSchemathesis(): Promise<{ readonly path: string } | { readonly missing: string }> {
  const folder = join(dirname(binaryCache()), `schemathesis-${VERSION}`);
  const path = join(folder, 'bin', 'schemathesis');
  if (existsSync(path)) return { path };
  const problems: string[] = [];
  for (const python of PYTHONS) {
    try {
      await execute(python, ['-m', 'venv', folder], { timeout: INSTALL_TIMEOUT_MS });
      const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', `schemathesis==${VERSION}`];
      await execute(join(folder, 'bin', 'python'), pip, { timeout: INSTALL_TIMEOUT_MS });
      return { path };
    } catch (error) {
      problems.push((error as Error).message.split('\n').slice(0, 3).join(' '));
      await rm(folder, { recursive: true, force: true });
    }
  }
  return { missing: problems.join('; ') };
}
