import { readFile } from 'node:fs/promises';

export interface Mount {
  /** `major:minor` of the mounted filesystem. */
  readonly device: string;
  readonly mountPoint: string;
  readonly fsType: string;
  readonly source: string;
}

/** The kernel writes blanks and backslashes in paths as three octal digits. */
const decodePath = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));

/** Lines of /proc/<pid>/mountinfo, see proc(5). */
export function parseMountInfo(text: string): Mount[] {
  const mounts: Mount[] = [];
  for (const line of text.split('\n')) {
    const [left, right] = line.split(' - ');
    const [, , device, , mountPoint] = left?.split(' ') ?? [];
    const [fsType, source] = right?.split(' ') ?? [];
    if (device === undefined || mountPoint === undefined || fsType === undefined || source === undefined) continue;
    mounts.push({ device, mountPoint: decodePath(mountPoint), fsType: decodePath(fsType), source: decodePath(source) });
  }
  return mounts;
}

/** What this process sees mounted, in the order of mounting. Reads no mounted filesystem. */
export async function listMounts(): Promise<Mount[]> {
  return parseMountInfo(await readFile('/proc/self/mountinfo', 'utf8'));
}
