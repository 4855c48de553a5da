/** Secrets that must not be found, and where they are looked for. */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Name of a secret, and the forms in which it would betray it. */
export type Needles = ReadonlyMap<string, readonly Buffer[]>;

/** A text as it is and as JSON has it in a string. */
export function text(secret: string): Buffer[] {
  return [secret, JSON.stringify(secret).slice(1, -1)].map((form) => Buffer.from(form));
}

/** Bytes as they are, in hexadecimal and in base64. */
export function bytes(secret: Uint8Array): Buffer[] {
  const raw = Buffer.from(secret);
  const hex = raw.toString('hex');
  const base64 = raw.toString('base64').replace(/=+$/, '');
  return [raw, ...[hex, hex.toUpperCase(), base64, raw.toString('base64url')].map((form) => Buffer.from(form))];
}

/** Every line of a PEM file's content but the last, which may be short. */
export function pem(content: string): Buffer[] {
  const lines = content.split('\n').filter((line) => line !== '' && !line.startsWith('-----'));
  return lines.filter(({ length }) => length >= 40).map((line) => Buffer.from(line));
}

/** Names of the secrets that are in it. */
export function find(needles: Needles, hay: Buffer): string[] {
  return [...needles].filter(([, forms]) => forms.some((form) => hay.includes(form))).map(([name]) => name);
}

/** All files below a folder but those that are left out, with the secrets that are in them. */
export function findInFiles(needles: Needles, folder: string, leaveOut: (path: string) => boolean): string[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true }).flatMap((entry) => {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isFile() || leaveOut(path)) return [];
    return find(needles, readFileSync(path)).map((name) => `${name} in ${path}`);
  });
}
