/**
 * The process that fsync-workload.ts starts: uses a directory of a filesystem as programs do that want their files to
 * survive, and prints the number of each version when it has. Ends with 3 when the filesystem gives an error.
 */

import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, rmdirSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { contentOf, fileOf } from './fsync-content.js';

const directory = process.argv.at(-2);
const first = Number(process.argv.at(-1));
if (directory === undefined || !Number.isInteger(first)) throw new Error('arguments: directory, first version');

const entries = openSync(directory, 'r');
try {
  for (let version = first; ; version++) {
    const name = join(directory, fileOf(version));
    const file = openSync(`${name}.new`, 'w');
    writeSync(file, contentOf(version));
    fsyncSync(file);
    closeSync(file);
    renameSync(`${name}.new`, name);
    fsyncSync(entries);
    writeSync(1, `${version}\n`);
    // What nobody asked to keep: the journal has work, and a crash something to undo.
    mkdirSync(join(directory, `passing-${version % 7}`), { recursive: true });
    if (version % 3 === 0) rmdirSync(join(directory, `passing-${version % 7}`));
  }
} catch (error) {
  process.stderr.write(`the filesystem: ${(error as Error).message}\n`);
  process.exit(3);
}
