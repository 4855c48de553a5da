/** What Linux knows of processes. */

import { readFileSync } from 'node:fs';

/** `sysconf(_SC_CLK_TCK)` of Linux on all machines that Node runs on. */
const CLOCK_TICKS_PER_S = 100;

/** Processor time in milliseconds: /proc/<pid>/stat, fields utime and stime; the name before may hold blanks. */
export function cpuMsOf(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / CLOCK_TICKS_PER_S;
}

/** From /proc/<pid>/io: bytes that the process, or `self`, has made the kernel write, or still to be written, so far. */
export function writtenBytesOf(pid: number | 'self'): number {
  const text = readFileSync(`/proc/${pid}/io`, 'latin1');
  const field = (name: string): number => Number(new RegExp(`^${name}: (\\d+)$`, 'm').exec(text)?.[1] ?? 0);
  return field('write_bytes') - field('cancelled_write_bytes');
}
