import { describe, expect, it } from 'vitest';
import { formatAge, formatBytes, formatTable, parseBytes } from '../../../cli/format.js';
import { parseEndpoint } from '../../../cli/settings.js';

describe('sizes', () => {
  it.each([
    [0, '0 B'],
    [9, '9 B'],
    [512, '512 B'],
    [1024, '1.0 KiB'],
    [5 * 2 ** 30, '5.0 GiB'],
    [12 * 2 ** 30, '12 GiB'],
    [1.5 * 2 ** 40, '1.5 TiB'],
  ])('%i is written %s', (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });

  it.each([
    ['5GiB', 5 * 2 ** 30],
    ['5gib', 5 * 2 ** 30],
    ['5 GiB', 5 * 2 ** 30],
    ['5gi', 5 * 2 ** 30],
    ['5GB', 5e9],
    ['1.5k', 1500],
    ['1,073,741,824', 2 ** 30],
    ['42', 42],
    ['42b', 42],
  ])('%s is read as %i', (text, bytes) => {
    expect(parseBytes(text)).toBe(bytes);
  });

  it.each(['', 'GiB', '-1', '5XiB', '1e3', '9999999999EiB'])('"%s" is no size', (text) => {
    expect(() => parseBytes(text)).toThrow();
  });
});

describe('ages', () => {
  const now = Date.parse('2026-06-01T00:00:00Z');
  it.each([
    [0, 'now'],
    [1, '1 second ago'],
    [59, '59 seconds ago'],
    [60, '1 minute ago'],
    [7 * 60, '7 minutes ago'],
    [3600, '1 hour ago'],
    [86_400 * 6, '6 days ago'],
    [86_400 * 7, '1 week ago'],
    [86_400 * 45, '1 month ago'],
    [86_400 * 800, '2 years ago'],
    [-120, '2 minutes from now'],
  ])('%i s: %s', (seconds, text) => {
    expect(formatAge(new Date(now - seconds * 1000).toISOString(), now)).toBe(text);
  });
});

describe('endpoints', () => {
  it.each([
    ['localhost', 'http://localhost:5705'],
    ['10.0.0.1:80', 'http://10.0.0.1:80'],
    ['https://storage', 'https://storage:5705'],
    ['https://storage:443', 'https://storage:443'],
    ['http://[::1]:5705', 'http://[::1]:5705'],
  ])('%s means %s', (text, url) => {
    expect(parseEndpoint(text)).toBe(url);
  });
});

describe('tables', () => {
  it('are two spaces apart, and wide cells do not push the others away', () => {
    const wide = 'x'.repeat(60);
    expect(
      formatTable(
        ['A', 'B'],
        [
          [wide, '1'],
          ['y', '2'],
        ],
      ).split('\n'),
    ).toEqual([`${'A'.padEnd(50)}  B`, `${wide}  1`, `${'y'.padEnd(50)}  2`]);
  });
});
