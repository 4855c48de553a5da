/** How sizes, times, labels and tables are written for people, and how sizes and labels are read from them. */

import type { ApiLabels } from '../client/types.js';
import { CliError, EXIT } from './errors.js';

const MAX_COLUMN_CHARS = 50;
const IEC_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];

/** `5.0 GiB`, `12 GiB`, `512 B`. */
export function formatBytes(bytes: number): string {
  if (bytes < 10) return `${bytes} B`;
  let exponent = 0;
  while (exponent < IEC_UNITS.length - 1 && bytes >= 1024 ** (exponent + 1)) exponent++;
  const value = Math.round((bytes / 1024 ** exponent) * 10) / 10;
  return `${value < 10 ? value.toFixed(1) : value.toFixed(0)} ${IEC_UNITS[exponent]}`;
}

/** Bytes of `5GiB`, `5 gib`, `1.5G`, `10GB`, `1073741824`. Errors: CliError. */
export function parseBytes(text: string): number {
  const match = /^([\d,]*\.?\d+)\s*([kmgtpe]?)(i?)b?$/i.exec(text.trim());
  if (match === null) throw new CliError(EXIT.invalidInput, `"${text}" is not a size; write it like 5GiB`);
  const [, digits = '', unit = '', binary = ''] = match;
  const exponent = unit === '' ? 0 : 'kmgtpe'.indexOf(unit.toLowerCase()) + 1;
  const bytes = Math.trunc(Number(digits.replaceAll(',', '')) * (binary === '' ? 1000 : 1024) ** exponent);
  if (!Number.isSafeInteger(bytes)) throw new CliError(EXIT.invalidInput, `"${text}" is too large`);
  return bytes;
}

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const WEEK = 7 * DAY;
const MONTH = 30 * DAY;
const YEAR = 12 * MONTH;

/** For whom something is shown. */
export interface View {
  /** Ages are counted to this moment. */
  readonly nowMs: number;
  readonly colours: boolean;
}

/** `7 minutes ago`; empty for a time that is missing. */
export function formatAge(timestamp: string | undefined, nowMs: number): string {
  if (timestamp === undefined || timestamp === '') return '';
  const seconds = Math.trunc((nowMs - Date.parse(timestamp)) / 1000);
  const direction = seconds < 0 ? 'from now' : 'ago';
  const distance = Math.abs(seconds);
  if (distance < 1) return 'now';
  const units: readonly [number, string][] = [
    [YEAR, 'year'],
    [MONTH, 'month'],
    [WEEK, 'week'],
    [DAY, 'day'],
    [HOUR, 'hour'],
    [MINUTE, 'minute'],
    [1, 'second'],
  ];
  for (const [length, name] of units) {
    if (distance < length) continue;
    const count = Math.floor(distance / length);
    return `${count} ${name}${count === 1 ? '' : 's'} ${direction}`;
  }
  return 'now';
}

/** `2026-01-02T03:04:05Z (7 minutes ago)` */
export function formatTime(timestamp: string, nowMs: number): string {
  return `${timestamp.replace(/\.\d+/, '')} (${formatAge(timestamp, nowMs)})`;
}

/** `a=b,c=d` of one argument. Errors: CliError. */
export function parseLabels(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  for (const part of text.split(',').filter((item) => item !== '')) {
    const at = part.indexOf('=');
    if (at < 1) throw new CliError(EXIT.invalidInput, `label "${part}": write key=value`);
    labels[part.slice(0, at)] = part.slice(at + 1);
  }
  return labels;
}

export function labelLines(labels: ApiLabels | null): string[] {
  return Object.entries(labels ?? {})
    .map(([key, value]) => `${key}=${value}`)
    .sort();
}

/** Whether an object has all labels that the selectors name: `key` or `key=value`. */
export function matchesSelectors(labels: ApiLabels | null, selectors: readonly string[]): boolean {
  return selectors.every((selector) => {
    const at = selector.indexOf('=');
    const key = at < 0 ? selector : selector.slice(0, at);
    const value = labels?.[key];
    return value !== undefined && (at < 0 || value === selector.slice(at + 1));
  });
}

/** A word in a colour that says how well something is. */
export interface Coloured {
  readonly text: string;
  readonly colour: 'green' | 'yellow' | 'red';
}
export type Cell = string | Coloured;

const COLOURS = { green: 32, yellow: 33, red: 31 } as const;
const WELL: ReadonlySet<string> = new Set(['online', 'ready']);
const AWAY: ReadonlySet<string> = new Set(['offline', 'failed', 'deleted']);

/** `text` in the colour of a health. */
export function healthCell(health: string, text = health): Coloured {
  return { text, colour: WELL.has(health) ? 'green' : AWAY.has(health) ? 'red' : 'yellow' };
}

function textOf(cell: Cell | undefined): string {
  return cell === undefined ? '' : typeof cell === 'string' ? cell : cell.text;
}

/** The cell as wide as its column; the padding has no colour. */
function paint(cell: Cell, width: number, colours: boolean): string {
  const text = textOf(cell);
  const padding = ' '.repeat(Math.max(0, width - text.length));
  if (typeof cell === 'string' || !colours) return `${text}${padding}`;
  return `\u001b[${COLOURS[cell.colour]}m${text}\u001b[0m${padding}`;
}

/** Columns two spaces apart, as wide as their contents up to 50 characters. */
export function formatTable(
  header: readonly string[],
  rows: readonly (readonly Cell[])[],
  { colours }: Pick<View, 'colours'> = { colours: false },
): string {
  const all: readonly (readonly Cell[])[] = [header, ...rows];
  const widths = header.map((_, column) =>
    Math.min(MAX_COLUMN_CHARS, Math.max(...all.map((row) => textOf(row[column]).length))),
  );
  return all
    .map((row) =>
      row
        .map((cell, column) => paint(cell, widths[column] ?? 0, colours))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** A name and its value, which may have several lines. */
export type Field = readonly [name: string, value: string | readonly string[]];

/** Rows of name and value, the values aligned; a value of several lines goes on below its first. */
export function formatFields(fields: readonly Field[], indent = 0): string {
  const width = Math.max(...fields.map(([name]) => name.length)) + 2;
  const margin = ' '.repeat(indent);
  return fields
    .flatMap(([name, value]) => {
      const lines = typeof value === 'string' ? [value] : value.length === 0 ? ['-'] : value;
      return lines.map((line, i) => `${margin}${(i === 0 ? name : '').padEnd(width)}${line}`.trimEnd());
    })
    .join('\n');
}
