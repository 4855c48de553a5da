/** Histories of workflows as JSON files: enums by name, numbers of 64 bits as text, bytes in base64. */

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import proto from '@temporalio/proto';
import { packageRoot } from '../../../node-agent/package-root.js';

/** In the sources, also for compiled code. */
const FOLDER = join(packageRoot(), 'test', 'unit', 'workflows', 'histories');
const { History } = proto.temporal.api.history.v1;

export type History = proto.temporal.api.history.v1.IHistory;

export function saveHistory(name: string, history: History): void {
  const plain = History.toObject(History.fromObject(history), { enums: String, longs: String, bytes: String });
  mkdirSync(FOLDER, { recursive: true });
  // Stack traces tell paths of this machine, and nothing that a replay looks at.
  const text = JSON.stringify(plain, (key, value) => (key === 'stackTrace' ? '' : value), 1);
  writeFileSync(join(FOLDER, `${name}.json`), `${text}\n`);
}

/** Without `.json`. */
export function historyNames(): string[] {
  return readdirSync(FOLDER)
    .filter((file) => file.endsWith('.json'))
    .map((file) => file.slice(0, -'.json'.length));
}

export function historyText(name: string): string {
  return readFileSync(join(FOLDER, `${name}.json`), 'utf8');
}

export function parseHistory(text: string): History {
  return History.fromObject(JSON.parse(text));
}
