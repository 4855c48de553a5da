/** The API's certificate and key, read again when their files change. */

import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import { DomainError } from '../../core/errors.js';
import type { Clock } from '../../core/ports.js';
import { FollowedFiles } from '../followed-files.js';

const MAX_FILE_BYTES = 1 << 20;

/** PEM. */
export interface Certificate {
  readonly cert: Buffer;
  readonly key: Buffer;
}

export interface TlsFilesOptions {
  /** Paths of PEM files: the chain, the server's own certificate first, and its key. */
  readonly cert: string;
  readonly key: string;
  readonly clock: Clock;
  /** Told when files that have changed cannot be used; what was read before stays in use. */
  readonly onTrouble: (error: Error) => void;
}

export class TlsFiles extends FollowedFiles<Certificate> {
  /** Errors: DomainError('invalid') that names the file, or says that the two do not belong together. */
  static async open({ cert, key, clock, onTrouble }: TlsFilesOptions): Promise<TlsFiles> {
    const files = { cert, key };
    const same = (a: Certificate, b: Certificate): boolean => a.cert.equals(b.cert) && a.key.equals(b.key);
    return new TlsFiles({ read: () => read(files), same, clock, onTrouble }, await read(files));
  }
}

async function read({ cert, key }: Pick<TlsFilesOptions, 'cert' | 'key'>): Promise<Certificate> {
  const pair = { cert: await readPem(cert), key: await readPem(key) };
  try {
    createSecureContext(pair);
  } catch (cause) {
    throw new DomainError('invalid', `${cert} and ${key} are no certificate and its key`, { cause });
  }
  return pair;
}

async function readPem(path: string): Promise<Buffer> {
  let content: Buffer;
  try {
    content = await readFile(path);
  } catch (cause) {
    throw new DomainError('invalid', `${path} cannot be read: ${(cause as NodeJS.ErrnoException).code}`, { cause });
  }
  if (content.length > MAX_FILE_BYTES) throw new DomainError('invalid', `${path} is too large for a PEM file`);
  return content;
}
