import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { longestPause } from '../../../cluster/tour/pgbench.js';
import { fileHolds, searchTree } from '../../../cluster/tour/plain-text.js';

const MIB = 1 << 20;
const needle = Buffer.from('the-plain-text');

let scratch: string;

beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'storageos-tour-'));
});

afterEach(() => rmSync(scratch, { recursive: true, force: true }));

describe('the search for plain text', () => {
  it.each([0, 1, 4 * MIB - 1, 4 * MIB - 7, 4 * MIB, 9 * MIB])('finds it at offset %i, across reads too', (offset) => {
    const path = join(scratch, 'file');
    const content = Buffer.alloc(offset + needle.length + 3);
    needle.copy(content, offset);
    writeFileSync(path, content);
    expect(fileHolds(path, needle)).toBe(true);
    content.writeUInt8(0, offset + 4);
    writeFileSync(path, content);
    expect(fileHolds(path, needle)).toBe(false);
  });

  it('looks into every file of a tree', () => {
    mkdirSync(join(scratch, 'a', 'b'), { recursive: true });
    writeFileSync(join(scratch, 'a', 'one'), 'nothing');
    writeFileSync(join(scratch, 'a', 'b', 'two'), `xx${needle.toString()}`);
    writeFileSync(join(scratch, 'empty'), '');
    expect(searchTree(scratch, needle)).toEqual({ files: 3, found: [join(scratch, 'a', 'b', 'two')] });
  });
});

describe('the pause of pgbench', () => {
  it('is the longest gap that touches the moment or comes after it', () => {
    expect(longestPause([0, 5_000, 5_010, 5_020, 7_020, 7_030], 5_015)).toBe(2_000);
    expect(longestPause([0, 5_000], 2_500)).toBe(5_000);
    expect(longestPause([0, 10, 20], 30)).toBe(0);
  });
});
