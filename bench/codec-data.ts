/** What volumes hold, 1 MiB of each: the data that the codec is measured on. */

import { closeSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';

export const DATA_BYTES = 1 << 20;

export type DataName = 'text' | 'executable' | 'database' | 'zeroes' | 'random';
export const DATA_NAMES: readonly DataName[] = ['text', 'executable', 'database', 'zeroes', 'random'];

/** The same in every run on one installation; `root` is the project's folder. */
export function benchmarkData(name: DataName, root: string): Buffer {
  switch (name) {
    case 'text':
      return sourceText(join(root, 'node_modules'));
    case 'executable':
      return middleOf(process.execPath);
    case 'database':
      return databasePages();
    case 'zeroes':
      return Buffer.alloc(DATA_BYTES);
    case 'random':
      return noise();
  }
}

/** Type declarations and manuals of installed packages, one after the other. */
function sourceText(folder: string): Buffer {
  const out = Buffer.alloc(DATA_BYTES);
  let at = 0;
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.md') || path.endsWith('.d.ts'))
    .sort();
  for (const path of files) {
    if (at === DATA_BYTES) break;
    at += readFileSync(join(folder, path)).copy(out, at);
  }
  return out;
}

function middleOf(path: string): Buffer {
  const out = Buffer.alloc(DATA_BYTES);
  const file = openSync(path, 'r');
  // Node's machine code begins some megabytes into the file.
  readSync(file, out, 0, DATA_BYTES, 40 << 20);
  closeSync(file);
  return out;
}

/** Pages of 8 KiB as a row store lays them out: header, item pointers, free space, rows from the end. */
function databasePages(): Buffer {
  const random = seeded(2);
  const out = Buffer.alloc(DATA_BYTES);
  const names = Array.from({ length: 400 }, () => word(random));
  let id = 100_000;
  for (let page = 0; page < DATA_BYTES; page += 8192) {
    out.writeUInt32LE(page, page);
    out.writeUInt16LE(Math.floor(random() * 65536), page + 8);
    let pointer = page + 24;
    let row = page + 8192;
    while (row - pointer > 1200) {
      const name = names[Math.floor(random() ** 2 * names.length)];
      const comment = Array.from({ length: 3 + random() * 6 }, () => names[Math.floor(random() * names.length)]);
      const text = `${name}@example.com\x10${comment.join(' ')}`;
      row = (row - 40 - text.length) & ~7;
      out.writeUInt32LE(4711, row);
      out.writeUInt16LE(6, row + 20);
      out.writeUInt32LE(id++, row + 24);
      out.writeUInt32LE(1_700_000_000 + random() * 1e6, row + 28);
      out.writeDoubleLE(Math.round(random() * 1e5) / 100, row + 32);
      out.write(text, row + 40, 'latin1');
      out.writeUInt32LE(((row - page) << 16) | (40 + text.length), pointer);
      pointer += 4;
    }
  }
  return out;
}

function word(random: () => number): string {
  return Array.from({ length: 3 + random() * 8 }, () => 'etaoinshrdlucmfwyp'[Math.floor(random() ** 1.5 * 18)]).join(
    '',
  );
}

function noise(): Buffer {
  const random = seeded(3);
  const out = Buffer.alloc(DATA_BYTES);
  for (let at = 0; at < DATA_BYTES; at += 4) out.writeUInt32LE(Math.floor(random() * 2 ** 32), at);
  return out;
}

/** xorshift32. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}
