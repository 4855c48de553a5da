/** The API's certificate and key, read again when their files change. */

import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import { DomainError } from '../../core/errors.js';
import type { Clock, Timer } from '../../core/ports.js';

/**
 * How often the files are looked at, ms. Looking is what works everywhere: Kubernetes replaces mounted secrets by
 * moving symbolic links, which watching a file does not see.
 */
const LOOK_INTERVAL_MS = 10_000;
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
  readonly onTrouble: (error: DomainError) => void;
}

export class TlsFiles {
  readonly #options: TlsFilesOptions;
  #current: Certificate;
  #changed: (certificate: Certificate) => void = () => {};
  #timer: Timer | undefined;
  #toldTrouble: string | undefined;
  #closed = false;

  /** Errors: DomainError('invalid') that names the file, or says that the two do not belong together. */
  static async open(options: TlsFilesOptions): Promise<TlsFiles> {
    return new TlsFiles(options, await read(options));
  }

  private constructor(options: TlsFilesOptions, current: Certificate) {
    this.#options = options;
    this.#current = current;
  }

  get current(): Certificate {
    return this.#current;
  }

  /** Calls `changed` with every new pair from now on. */
  follow(changed: (certificate: Certificate) => void): void {
    this.#changed = changed;
    this.#schedule();
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  #schedule(): void {
    if (this.#closed) return;
    this.#timer = this.#options.clock.after(LOOK_INTERVAL_MS, () => {
      void this.#look().finally(() => this.#schedule());
    });
  }

  async #look(): Promise<void> {
    try {
      const found = await read(this.#options);
      this.#toldTrouble = undefined;
      if (found.cert.equals(this.#current.cert) && found.key.equals(this.#current.key)) return;
      this.#current = found;
      if (!this.#closed) this.#changed(found);
    } catch (error) {
      // One of the two may have been replaced before the other: the next look sees both.
      const trouble = error as DomainError;
      if (trouble.message !== this.#toldTrouble) this.#options.onTrouble(trouble);
      this.#toldTrouble = trouble.message;
    }
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
