/** Archives of small files in memory: ustar (POSIX.1-1988, "Extended tar Format") within gzip (RFC 1952). */

import { promisify } from 'node:util';
import { gzip as gzipCallback } from 'node:zlib';

const gzip = promisify(gzipCallback);

const BLOCK_BYTES = 512;
/** Characters of the field `name`. */
const MAX_PATH_CHARS = 100;
/** The file's size is eleven octal digits. */
const MAX_FILE_BYTES = 8 ** 11 - 1;
const MODE = 0o600;

export interface ArchiveFile {
  /** At most 100 characters of ASCII. */
  readonly path: string;
  readonly content: Buffer;
}

function octal(header: Buffer, value: number, offset: number, length: number): void {
  header.write(`${value.toString(8).padStart(length - 1, '0')}\0`, offset, 'latin1');
}

function headerOf({ path, content }: ArchiveFile, modifiedSeconds: number): Buffer {
  if (path.length > MAX_PATH_CHARS || content.length > MAX_FILE_BYTES) {
    throw new RangeError(`${path}: too long for an archive`);
  }
  const header = Buffer.alloc(BLOCK_BYTES);
  header.write(path, 0, 'latin1');
  octal(header, MODE, 100, 8);
  octal(header, 0, 108, 8);
  octal(header, 0, 116, 8);
  octal(header, content.length, 124, 12);
  octal(header, modifiedSeconds, 136, 12);
  // The checksum is made with eight spaces in its own place.
  header.write('        ', 148, 'latin1');
  header.write('0', 156, 'latin1');
  header.write('ustar\0', 257, 'latin1');
  header.write('00', 263, 'latin1');
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return header;
}

/**
 * The files as one gzip member without the archive's end: members joined, with `archiveEnd` as the last, are one
 * archive, because joined gzip members are what was compressed in them, joined. `modified`: RFC 3339.
 */
export async function archivePart(files: readonly ArchiveFile[], modified: string): Promise<Buffer> {
  const modifiedSeconds = Math.floor(Date.parse(modified) / 1000);
  const blocks = files.flatMap((file) => {
    const padding = (BLOCK_BYTES - (file.content.length % BLOCK_BYTES)) % BLOCK_BYTES;
    return [headerOf(file, modifiedSeconds), file.content, Buffer.alloc(padding)];
  });
  return gzip(Buffer.concat(blocks));
}

/** Two blocks of zeroes. */
export function archiveEnd(): Promise<Buffer> {
  return gzip(Buffer.alloc(2 * BLOCK_BYTES));
}
