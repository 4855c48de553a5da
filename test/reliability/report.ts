/** docs/reliability.md, from the lines that runs have left. */

import { z } from 'zod';
import { RUN_KINDS, type RunRecord, runRecordSchema } from '../setup/run-record.js';
import { KIND_TEXTS } from './kinds.js';

/** What one of the methods has found, written by whoever mended it. */
const findingSchema = z.strictObject({
  /** Which method, for people. */
  by: z.string().min(1),
  /** One sentence: what went wrong, or would have. */
  what: z.string().min(1),
  /** The commit; absent while it is open. */
  mended: z.string().optional(),
  /** What fails if it comes back. */
  test: z.string().min(1),
});

export type Finding = z.infer<typeof findingSchema>;

/** Errors: with the file and the number of the line. */
function parseLines<T>(name: string, text: string, schema: z.ZodType<T>): T[] {
  return text.split('\n').flatMap((line, i) => {
    if (line.trim() === '') return [];
    try {
      return [schema.parse(JSON.parse(line))];
    } catch (cause) {
      throw new Error(`${name}, line ${i + 1}: ${(cause as Error).message}`, { cause });
    }
  });
}

export function parseRuns(name: string, text: string): RunRecord[] {
  return parseLines(name, text, runRecordSchema);
}

export function parseFindings(name: string, text: string): Finding[] {
  return parseLines(name, text, findingSchema);
}

type Cell = string | number;
type Row = readonly Cell[];

function cells(values: Row): string {
  return `| ${values.map((value) => (typeof value === 'number' ? number(value) : value.replaceAll('|', '\\|'))).join(' | ')} |`;
}

function table(columns: readonly string[], rows: readonly Row[]): string[] {
  return [cells(columns), `|${'---|'.repeat(columns.length)}`, ...rows.map(cells)];
}

function number(value: number): string {
  return value.toLocaleString('en-US');
}

/** "fioRuns" → "fio runs". */
function words(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

function duration(seconds: number): string {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 90 * 60 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

function sum(runs: readonly RunRecord[], of: (run: RunRecord) => number): number {
  return runs.reduce((total, run) => total + of(run), 0);
}

function countNames(runs: readonly RunRecord[]): string[] {
  return [...new Set(runs.flatMap((run) => Object.keys(run.counts)))];
}

function counts(runs: readonly RunRecord[], names = countNames(runs)): string {
  return names.map((name) => `${number(sum(runs, (run) => run.counts[name] ?? 0))} ${words(name)}`).join(', ');
}

function failures(runs: readonly RunRecord[]): number {
  return sum(runs, (run) => run.failures);
}

/** On the wall, and, of those runs for which it was measured, of processors. */
function time(runs: readonly RunRecord[]): string {
  const measured = runs.filter(({ cpuSeconds }) => cpuSeconds !== undefined);
  const wall = duration(sum(runs, (run) => run.seconds));
  if (measured.length === 0) return wall;
  const part = measured.length < runs.length ? ` in ${measured.length} of the runs` : '';
  return `${wall}, ${duration(sum(measured, (run) => run.cpuSeconds ?? 0))} of processors${part}`;
}

type Merge = NonNullable<NonNullable<RunRecord['table']>['merge']>;

/** The rows of all tables with the title, one for each first cell. `runs`: the oldest first. */
function merged(title: string, merge: Merge, runs: readonly RunRecord[]): Row[] {
  const rows = new Map<Cell, Cell[]>();
  for (const { table: part } of runs) {
    if (part?.title !== title) continue;
    for (const [name, ...cells] of part.rows) {
      const before = rows.get(name!);
      rows.set(name!, before === undefined ? cells : cells.map((cell, i) => both(merge[i]!, before[i]!, cell)));
    }
  }
  return [...rows].map(([name, cells]) => [name, ...cells]);
}

function both(how: Merge[number], before: Cell, after: Cell): Cell {
  if (how === 'newest') return after;
  return how === 'sum' ? Number(before) + Number(after) : Math.max(Number(before), Number(after));
}

/** How much was run on each state of the code, if there are several; the oldest first. */
function byCommit(runs: readonly RunRecord[]): string[] {
  const commits = [...new Set(runs.map(({ commit }) => commit))];
  if (commits.length < 2) return [];
  const rows = commits.map((commit): Row => {
    const of = runs.filter((run) => run.commit === commit);
    const [headline] = countNames(of);
    const first = of[0]!.at.slice(0, 16).replace('T', ' ');
    return [commit, first, of.length, counts(of, headline === undefined ? [] : [headline]), time(of), failures(of)];
  });
  return ['', ...table(['commit', 'first run, UTC', 'runs', 'what', 'time', 'failures'], rows)];
}

function section(kind: RunRecord['kind'], runs: readonly RunRecord[]): string[] {
  const { title, command, what } = KIND_TEXTS[kind];
  const newest = new Map(runs.flatMap((run) => (run.table === undefined ? [] : [[run.table.title, run] as const])));
  const tables = [...newest.values()].flatMap((run) => {
    const { title, columns, rows, merge } = run.table!;
    if (merge !== undefined) return ['', `${title}, all runs:`, '', ...table(columns, merged(title, merge, runs))];
    const origin = `${title}: \`${run.command}\` at ${run.commit}, ${run.at.slice(0, 10)}`;
    return ['', origin, '', ...table(columns, rows)];
  });
  const commits = [...new Set(runs.map(({ commit }) => commit))];
  return [
    `## ${title}`,
    '',
    `\`${command}\`. ${what}`,
    '',
    `In all: ${counts(runs)}; ${number(failures(runs))} failures; ${time(runs)}; on ${commits.join(', ')}.`,
    ...byCommit(runs),
    ...tables,
    '',
  ];
}

/** The whole document. */
export function report(runs: readonly RunRecord[], findings: readonly Finding[]): string {
  const inOrder = [...runs].sort((a, b) => (a.at < b.at ? -1 : 1));
  const kinds = RUN_KINDS.filter((kind) => runs.some((run) => run.kind === kind));
  const of = (kind: RunRecord['kind']): RunRecord[] => inOrder.filter((run) => run.kind === kind);
  const lines = [
    '# Reliability: what was run, and what it found',
    '',
    'Made by `npm run reliability` from [reliability/](reliability), to which long runs append a line each (`--json`). A run that failed stays in it: its failures are counted, and what was wrong is in the list below. The totals are of all runs, on the code that it was at the time: a run before a change says nothing about that change, the commits say what it was.',
    '',
    ...table(
      ['method', 'runs', 'time', 'what', 'failures'],
      kinds.map((kind) => [
        KIND_TEXTS[kind].title,
        of(kind).length,
        time(of(kind)),
        counts(of(kind)),
        failures(of(kind)),
      ]),
    ),
    '',
    '## What was found',
    '',
    ...(findings.length === 0
      ? ['Nothing yet.']
      : table(
          ['by', 'what', 'mended in', 'comes back as'],
          findings.map(({ by, what, mended, test }) => [by, what, mended ?? 'open', test]),
        )),
    '',
    ...kinds.flatMap((kind) => section(kind, of(kind))),
  ];
  return `${lines.join('\n').trimEnd()}\n`;
}
