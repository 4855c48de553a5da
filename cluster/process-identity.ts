/** Which process a pid means: pids are given again, a start time since boot and the boot's id are not. */

import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';

const POLL_MS = 25;
const KILL_WAIT_MS = 10_000;
const START_TIME_FIELD = 22;

export const processIdentitySchema = z.object({
  pid: z.number().int().positive(),
  /** Clock ticks since boot, field 22 of /proc/<pid>/stat. */
  startTime: z.string(),
  bootId: z.string(),
});

export type ProcessIdentity = z.infer<typeof processIdentitySchema>;

function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

/** Undefined if there is no such process, or only what its parent has not collected yet. */
export function identifyProcess(pid: number): ProcessIdentity | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined;
  }
  // The second field is the program's name in parentheses, which may itself hold spaces and parentheses.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const startTime = fields[START_TIME_FIELD - 3];
  if (fields[0] === 'Z' || fields[0] === 'X' || startTime === undefined) return undefined;
  return { pid, startTime, bootId: bootId() };
}

export function isRunning(identity: ProcessIdentity): boolean {
  const now = identifyProcess(identity.pid);
  return now !== undefined && now.startTime === identity.startTime && now.bootId === identity.bootId;
}

/** Ends the process: SIGTERM, and SIGKILL if it is still there after the grace. Resolves to whether it is gone. */
export async function endProcess(identity: ProcessIdentity, graceMs: number): Promise<boolean> {
  for (const [signal, waitMs] of [
    ['SIGTERM', graceMs],
    ['SIGKILL', KILL_WAIT_MS],
  ] as const) {
    if (!isRunning(identity)) return true;
    try {
      process.kill(identity.pid, signal);
    } catch {
      return !isRunning(identity);
    }
    const deadline = performance.now() + waitMs;
    while (isRunning(identity) && performance.now() < deadline) await sleep(POLL_MS);
  }
  return !isRunning(identity);
}
