import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { packageRoot } from '../../node-agent/package-root.js';
import { parseFindings, parseRuns, report } from '../reliability/report.js';
import type { RunRecord } from '../setup/run-record.js';

const run: RunRecord = {
  kind: 'faults',
  command: 'npm run faults -- --rounds 2',
  commit: 'abc1234',
  at: '2026-01-02T03:04:05.678Z',
  seconds: 100,
  counts: { rounds: 2, fioRuns: 1234 },
  failures: 0,
  table: { title: 'Schedules', columns: ['schedule', 'rounds'], rows: [['a|b', 2]] },
};

describe('docs/reliability.md', () => {
  it('adds runs up, shows the newest table, and keeps failures', () => {
    const later = {
      ...run,
      at: '2026-01-03T00:00:00.000Z',
      commit: 'def5678',
      failures: 1,
      table: { title: 'Schedules', columns: ['schedule', 'rounds'], rows: [['newest', 5]] },
    };
    // Whatever the order in the file.
    const text = report([later, run], []);
    expect(text).toContain('4 rounds, 2,468 fio runs; 1 failures; 3 min; on abc1234, def5678');
    expect(text).toContain('| abc1234 | 2026-01-02 03:04 | 1 | 2 rounds | 2 min | 0 |');
    expect(text).toContain('| def5678 | 2026-01-03 00:00 | 1 | 2 rounds | 2 min | 1 |');
    expect(text).toContain('| newest | 5 |');
    expect(text).not.toContain('a\\|b');
    expect(report([run], [])).toContain('| a\\|b | 2 |');
  });

  it('makes one table of all where that is wanted', () => {
    const part = (rounds: number, seconds: number): RunRecord => ({
      ...run,
      table: {
        title: 'Schedules',
        columns: ['schedule', 'rounds', 'seconds at most'],
        rows: [
          ['cut', rounds, seconds],
          [`only ${rounds}`, 1, 1],
        ],
        merge: ['sum', 'max'],
      },
    });
    const text = report([part(2, 5), part(3, 4)], []);
    expect(text).toContain('| cut | 5 | 5 |');
    expect(text).toContain('| only 2 | 1 | 1 |');
    expect(text).toContain('| only 3 | 1 | 1 |');
  });

  it('takes of several tables the newest word on each row', () => {
    const part = (at: string, rows: [string, string][]): RunRecord => ({
      ...run,
      at,
      table: { title: 'Mistakes', columns: ['mistake', 'noticed by'], rows, merge: ['newest'] },
    });
    const older = part('2026-01-02T00:00:00.000Z', [
      ['R7', 'nothing'],
      ['R8', 'walk'],
    ]);
    const newer = part('2026-01-03T00:00:00.000Z', [['R7', 'simulation']]);
    const text = report([newer, older], []);
    expect(text).toContain('| R7 | simulation |\n| R8 | walk |');
    expect(text).not.toContain('| nothing |');
  });

  it('says of how many runs the time on processors is known', () => {
    expect(report([{ ...run, cpuSeconds: 150 }, run], [])).toContain('3 min, 3 min of processors in 1 of the runs;');
    expect(report([{ ...run, cpuSeconds: 20 }], [])).toContain('2 min, 20 s of processors;');
  });

  it('lists what was found, open or mended', () => {
    const findings = parseFindings(
      'findings',
      '{"by":"faults","what":"lost","test":"none yet"}\n\n{"by":"x","what":"y","mended":"abc","test":"t"}\n',
    );
    const text = report([run], findings);
    expect(text).toContain('| faults | lost | open | none yet |');
    expect(text).toContain('| x | y | abc | t |');
  });

  it('says which line it can not read', () => {
    expect(() => parseRuns('faults.jsonl', `${JSON.stringify(run)}\n{"kind":"other"}`)).toThrow(/faults.jsonl, line 2/);
    const ragged = { ...run, table: { title: 't', columns: ['a'], rows: [['b', 'c']] } };
    expect(() => parseRuns('x', JSON.stringify(ragged))).toThrow(/rows as long as columns/);
  });

  it('can be made from what is in the tree', () => {
    const folder = join(packageRoot(), 'docs', 'reliability');
    for (const name of readdirSync(folder)) {
      const text = readFileSync(join(folder, name), 'utf8');
      const lines = name === 'findings.jsonl' ? parseFindings(name, text) : parseRuns(name, text);
      expect(lines.length).toBeGreaterThan(0);
    }
  });
});
