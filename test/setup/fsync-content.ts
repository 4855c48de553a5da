/** What fsync-writer.ts writes, as a function of the version, so that nobody has to remember it. */

/** That exist at a time: a version replaces the one that is so many before it. */
export const FILES = 48;
const MAX_KIB = 200;

export function fileOf(version: number): string {
  return `file-${version % FILES}`;
}

/** Says its version in every line; between 1 and 200 KiB, and not a whole number of blocks. */
export function contentOf(version: number): Buffer {
  // Multiplicative hashing (Knuth): sizes look random and are the same every time.
  const kib = 1 + ((Math.imul(version, 0x9e3779b1) >>> 0) % MAX_KIB);
  const line = `version ${version} of ${fileOf(version)}\n`;
  return Buffer.from(line.repeat(Math.ceil((kib * 1024) / line.length)));
}

/** The version that a file holds whole; undefined if it holds none. */
export function versionIn(content: Buffer): number | undefined {
  const match = /^version (\d+) /.exec(content.toString('latin1', 0, 64));
  if (match === null) return undefined;
  const version = Number(match[1]);
  return content.equals(contentOf(version)) ? version : undefined;
}
