/** What Linux knows of processes. */

import { readFileSync } from 'node:fs';

/** `sysconf(_SC_CLK_TCK)` of Linux on all machines that Node runs on. */
const CLOCK_TICKS_PER_S = 100;
/** Where they are in /proc/<pid>/stat, counted from behind the name, which may hold blanks. */
const STAT_FIELDS = { utime: 11, stime: 12, cutime: 13, cstime: 14 } as const;

/** Processor time of a process so far, milliseconds. */
export function cpuMsOf(pid: number): number {
  return ticksMs(pid, 'utime', 'stime');
}

/** Processor time of this process's children that have ended so far, milliseconds. */
export function cpuMsOfEndedChildren(): number {
  return ticksMs(process.pid, 'cutime', 'cstime');
}

function ticksMs(pid: number, ...names: readonly (keyof typeof STAT_FIELDS)[]): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return names.reduce((sum, name) => sum + (Number(fields[STAT_FIELDS[name]]) * 1000) / CLOCK_TICKS_PER_S, 0);
}

/** Bytes that this process has made the kernel write, or still to be written, so far: /proc/self/io. */
export function writtenBytes(): number {
  const text = readFileSync('/proc/self/io', 'latin1');
  const field = (name: string): number => Number(new RegExp(`^${name}: (\\d+)$`, 'm').exec(text)?.[1] ?? 0);
  return field('write_bytes') - field('cancelled_write_bytes');
}
