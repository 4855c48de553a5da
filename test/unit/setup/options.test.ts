import { afterEach, describe, expect, it, vi } from 'vitest';
import { CommandLine, runCommand, UsageError } from '../../setup/options.js';

const SHAPE = { usage: 'Usage: run', words: ['seeds', 'minutes', 'json'], flags: ['trace'] };

const read = (...args: string[]) => new CommandLine(SHAPE, args);

describe('the command line of a long run', () => {
  it('gives what was said, and the defaults of the rest', () => {
    const line = read('--seeds=20', '--json', 'file', '--trace', '--minutes', '0.5');
    expect([line.count('seeds', 100, 1), line.word('json'), line.has('trace')]).toEqual([20, 'file', true]);
    expect(line.amount('minutes', undefined)).toBe(0.5);
    const nothing = read();
    expect([nothing.count('seeds', 100, 1), nothing.word('json'), nothing.has('trace')]).toEqual([
      100,
      undefined,
      false,
    ]);
    expect(nothing.amount('minutes', undefined)).toBeUndefined();
    expect(new CommandLine({ ...SHAPE, names: true }, ['R7', '--trace', 'R8']).names).toEqual(['R7', 'R8']);
  });

  it('can be typed again, without where it is recorded', () => {
    expect(read('--json', '/somewhere/runs.jsonl', '--seeds=20', '--trace').again).toBe('--seeds 20 --trace');
    expect(new CommandLine({ ...SHAPE, names: true }, ['R7', 'two words']).again).toBe('R7 "two words"');
    expect(read().again).toBe('');
  });

  it.each(['20x', '1k', '', '1.5', '0', '9'.repeat(20)])('refuses "%s" as a number of seeds', (text) => {
    expect(() => read('--seeds', text).count('seeds', 100, 1)).toThrow(UsageError);
  });

  it.each(['2h', '', '0', '0.0', '-1', '1e3', 'Infinity'])('refuses "%s" as minutes', (text) => {
    expect(() => read(`--minutes=${text}`).amount('minutes', 10)).toThrow(UsageError);
  });

  it.each([['--sedes', '3'], ['--seeds'], ['3']])('refuses %s', (...args) => {
    expect(() => read(...args)).toThrow(UsageError);
  });
});

describe('a command', () => {
  const { argv, exitCode } = process;

  afterEach(() => {
    vi.restoreAllMocks();
    process.argv = argv;
    process.exitCode = exitCode;
  });

  async function started(args: readonly string[], run: (line: CommandLine) => Promise<number>) {
    const said = { out: '', err: '' };
    for (const [stream, key] of [
      [process.stdout, 'out'],
      [process.stderr, 'err'],
    ] as const) {
      vi.spyOn(stream, 'write').mockImplementation((text) => {
        said[key] += String(text);
        return true;
      });
    }
    process.argv = [argv[0]!, 'module', ...args];
    process.exitCode = undefined;
    await runCommand(SHAPE, run);
    return { ...said, code: process.exitCode };
  }

  it('that is asked for help runs nothing', async () => {
    const run = vi.fn(async () => 1);
    expect(await started(['--help', '--seeds', '3'], run)).toEqual({ out: 'Usage: run\n', err: '', code: undefined });
    expect(run).not.toHaveBeenCalled();
  });

  it('says what is mistyped, and how it is meant', async () => {
    const { err, code } = await started(['--seeds', 'x'], async (line) => line.count('seeds', 1));
    expect([err, code]).toEqual(['--seeds x: not a whole number from 0 on\nUsage: run\n', 2]);
    expect((await started(['--sedes=3'], async () => 0)).code).toBe(2);
  });

  it('ends with the code of its run, and its errors are its own', async () => {
    expect((await started(['--seeds', '3'], async (line) => line.count('seeds', 1))).code).toBe(3);
    const failure = started([], async () => {
      throw new Error('no disk');
    });
    await expect(failure).rejects.toThrow('no disk');
  });
});
