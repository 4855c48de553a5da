import { describe, expect, it } from 'vitest';
import { CommandLine } from '../../setup/options.js';

const read = (...args: string[]) => new CommandLine(['seeds', 'json'], ['trace'], args);

describe('the command line of a long run', () => {
  it('gives what was said, and the defaults of the rest', () => {
    const line = read('--seeds=20', '--json', 'file', '--trace');
    expect([line.count('seeds', 100, 1), line.word('json'), line.has('trace')]).toEqual([20, 'file', true]);
    const nothing = read();
    expect([nothing.count('seeds', 100, 1), nothing.word('json'), nothing.has('trace')]).toEqual([
      100,
      undefined,
      false,
    ]);
  });

  it.each(['20x', '1k', '', '1.5', '0', '9'.repeat(20)])('refuses "%s" as a number of seeds', (text) => {
    expect(() => read('--seeds', text).count('seeds', 100, 1)).toThrow(RangeError);
  });

  it.each([['--help'], ['--sedes', '3'], ['--seeds'], ['3']])('refuses %s', (...args) => {
    expect(() => read(...args)).toThrow(TypeError);
  });
});
