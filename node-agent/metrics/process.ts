/** The node's processes as the kernel sees them, and what Node.js says of the agent's. */

import { readdirSync, readFileSync } from 'node:fs';
import { collectDefaultMetrics, Registry } from 'prom-client';
import { registerSampled } from './sampled.js';

/** The kernel's unit of processor time in /proc, which is 100 Hz on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100;
const NODE_METRICS = 'storageos_nodejs_';

export interface ProcessSources {
  /** `dataplane`: the agent; `control`: the process that runs the workflows, undefined where there is none. */
  readonly processes: () => { readonly dataplane: number; readonly control: number | undefined };
}

interface ProcessFacts {
  readonly userSeconds: number;
  readonly systemSeconds: number;
  readonly majorFaults: number;
  readonly threads: number;
  /** Since boot. */
  readonly startTicks: number;
  readonly virtualBytes: number;
  readonly residentBytes: number;
  readonly openFiles: number;
  readonly maxFiles: number;
  readonly maxVirtualBytes: number;
}

function bootSeconds(): number {
  return Number(/^btime (\d+)$/m.exec(readFileSync('/proc/stat', 'utf8'))?.[1] ?? 0);
}

/** -1 for no limit, as Prometheus' own client libraries have it. */
function limit(limits: string, name: string): number {
  const found = new RegExp(`^${name} +(\\S+)`, 'm').exec(limits)?.[1];
  return found === undefined || found === 'unlimited' ? -1 : Number(found);
}

/** Undefined: the process is gone. Fields: proc(5), "/proc/pid/stat", counted from the one behind the name. */
function readProcess(pid: number): ProcessFacts | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const field = (number: number): number => Number(fields[number - 3]);
    const limits = readFileSync(`/proc/${pid}/limits`, 'utf8');
    const resident = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return {
      majorFaults: field(12),
      userSeconds: field(14) / TICKS_PER_SECOND,
      systemSeconds: field(15) / TICKS_PER_SECOND,
      threads: field(20),
      startTicks: field(22),
      virtualBytes: field(23),
      residentBytes: Number(resident ?? 0) * 1024,
      openFiles: readdirSync(`/proc/${pid}/fd`).length,
      maxFiles: limit(limits, 'Max open files'),
      maxVirtualBytes: limit(limits, 'Max address space'),
    };
  } catch {
    return undefined;
  }
}

type Reading = readonly [type: 'counter' | 'gauge', help: string, read: (facts: ProcessFacts) => number];

const READINGS: Readonly<Record<string, Reading>> = {
  cpu_seconds_total: ['counter', 'processor time', (f) => f.userSeconds + f.systemSeconds],
  user_cpu_seconds_total: ['counter', 'processor time outside the kernel', (f) => f.userSeconds],
  sys_cpu_seconds_total: ['counter', 'processor time in the kernel', (f) => f.systemSeconds],
  major_faults_total: ['counter', 'page faults that had to read from a disk', (f) => f.majorFaults],
  threads_total: ['gauge', 'threads', (f) => f.threads],
  open_fds: ['gauge', 'open file descriptors', (f) => f.openFiles],
  max_fds: ['gauge', 'open file descriptors at the most', (f) => f.maxFiles],
  resident_memory_bytes: ['gauge', 'resident memory', (f) => f.residentBytes],
  virtual_memory_bytes: ['gauge', 'virtual memory', (f) => f.virtualBytes],
  virtual_memory_max_bytes: ['gauge', 'virtual memory at the most; -1: unlimited', (f) => f.maxVirtualBytes],
  start_time_seconds: ['gauge', 'start, in seconds since 1970', (f) => bootSeconds() + f.startTicks / TICKS_PER_SECOND],
};

export function registerProcessMetrics(registry: Registry, sources: ProcessSources): void {
  for (const role of ['dataplane', 'control'] as const) {
    const of = role === 'dataplane' ? 'the agent' : 'the process that runs the workflows';
    for (const [name, [type, help, read]] of Object.entries(READINGS)) {
      registerSampled(registry, {
        name: `storageos_${role}_process_${name}`,
        help: `${help} of ${of}`,
        type,
        read: () => {
          const pid = sources.processes()[role];
          const facts = pid === undefined ? undefined : readProcess(pid);
          return facts === undefined ? [] : [{ labels: {}, value: read(facts) }];
        },
      });
    }
  }
  // Of the library's own, those that the kernel does not know.
  const all = new Registry();
  collectDefaultMetrics({ register: all, prefix: 'storageos_' });
  for (const metric of all.getMetricsAsArray()) {
    if (metric.name.startsWith(NODE_METRICS)) registry.registerMetric(all.getSingleMetric(metric.name)!);
  }
}
