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

function cells(values: readonly (string | number)[]): string {
  return `| ${values.map((value) => (typeof value === 'number' ? number(value) : value.replaceAll('|', '\\|'))).join(' | ')} |`;
}

function table(columns: readonly string[], rows: readonly (readonly (string | number)[])[]): string[] {
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

function counts(runs: readonly RunRecord[]): string {
  const names = [...new Set(runs.flatMap((run) => Object.keys(run.counts)))];
  return names.map((name) => `${number(sum(runs, (run) => run.counts[name] ?? 0))} ${words(name)}`).join(', ');
}

/** Time on processors where it was measured, else on the wall. */
function time(runs: readonly RunRecord[]): string {
  const cpu = sum(runs, (run) => run.cpuSeconds ?? 0);
  const wall = duration(sum(runs, (run) => run.seconds));
  return cpu === 0 ? wall : `${wall}, ${duration(cpu)} of processors`;
}

type Merge = NonNullable<NonNullable<RunRecord['table']>['merge']>;

/** The rows of all tables with the title, one for each first cell. */
function merged(title: string, merge: Merge, runs: readonly RunRecord[]): (string | number)[][] {
  const rows = new Map<string | number, number[]>();
  for (const { table: part } of runs) {
    if (part?.title !== title) continue;
    for (const [name, ...cells] of part.rows) {
      const numbers = cells.map(Number);
      const before = rows.get(name!);
      const both = (value: number, i: number): number =>
        merge[i] === 'sum' ? value + before![i]! : Math.max(value, before![i]!);
      rows.set(name!, before === undefined ? numbers : numbers.map(both));
    }
  }
  return [...rows].map(([name, numbers]) => [name, ...numbers]);
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
    `In all: ${counts(runs)}; ${number(sum(runs, ({ failures }) => failures))} failures; ${time(runs)}; on ${commits.join(', ')}.`,
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
        sum(of(kind), ({ failures }) => failures),
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
