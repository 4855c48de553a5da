/** One schedule of faults on a cluster that lives on: everything is in use, broken, mended, and compared. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { NodeFacts } from '../../cluster/facts.js';
import { seeded } from '../unit/store/support.js';
import type { Arena, Subject } from './arena.js';
import { SCHEDULES } from './schedules/index.js';
import { pick, type Scene, type Schedule } from './schedules/schedule.js';
import { Workload } from './workload.js';

/** Until everything is in sync once the faults are over, and until every request has its answer. */
const RECOVERY_TIMEOUT_MS = 120_000;
const ANSWER_TIMEOUT_MS = 60_000;
/** In use before the faults begin, and behind them. */
const LEAD_MS = 1_000;
const TRAIL_MS = 1_500;

export interface RoundResult {
  readonly seed: number;
  readonly schedule: string;
  readonly notes: readonly string[];
  /** Of the whole round, and from the end of the faults until all copies are in sync. */
  readonly seconds: number;
  readonly recoverySeconds: number;
  /** Answered. */
  readonly writes: number;
  readonly reads: number;
  readonly flushes: number;
  readonly fioRuns: number;
  /** Empty: nothing was lost, stale, different or late. */
  readonly problems: readonly string[];
  readonly workload: Workload;
}

/** Which schedule a seed stands for. Errors: RangeError if no schedule has that name. */
export function scheduleOf(seed: number, only?: string): Schedule {
  const candidates = SCHEDULES.filter(({ name }) => only === undefined || name === only);
  if (candidates.length === 0) throw new RangeError(`no schedule "${only}"; there are ${names().join(', ')}`);
  // Neighbouring seeds are different schedules: a run of as many has each once.
  return candidates[seed % candidates.length]!;
}

export function names(): string[] {
  return SCHEDULES.map(({ name }) => name);
}

export async function runRound(arena: Arena, seed: number, only?: string): Promise<RoundResult> {
  const began = performance.now();
  const random = seeded(seed).next;
  const schedule = scheduleOf(seed, only);
  const subject = pick(random, arena.subjects);
  const workload = new Workload(arena, seed, seeded(seed + 1).next);
  const problems: string[] = [];
  const notes: string[] = [subject.volume.name];
  let recoverySeconds = 0;
  try {
    for (const each of arena.subjects) await arena.whole(each, RECOVERY_TIMEOUT_MS);
    const scene = await setScene(arena, { schedule, subject, random, workload, notes });
    await workload.start(scene.consumer, subject, schedule.connectionsLast);
    await sleep(LEAD_MS);
    await schedule.run(scene);
    if (arena.ended.length > 0) problems.push(`ended by themselves: ${arena.ended.join(' ')}`);
    const healing = performance.now();
    await arena.mend();
    for (const each of arena.subjects) await arena.whole(each, RECOVERY_TIMEOUT_MS);
    recoverySeconds = (performance.now() - healing) / 1000;
    await sleep(TRAIL_MS);
    problems.push(...(await workload.finish(subject, ANSWER_TIMEOUT_MS)));
    problems.push(...(await differences(arena)));
  } catch (error) {
    problems.push((error as Error).message);
    await workload.abandon();
    problems.push(...[...workload.registers.values()].flatMap((registers) => registers.problems()));
  }
  const answered = [...workload.registers.values()].map((registers) => registers.answered);
  const sum = (kind: 'write' | 'read' | 'flush'): number => answered.reduce((total, one) => total + one[kind], 0);
  return {
    seed,
    schedule: schedule.name,
    notes,
    seconds: (performance.now() - began) / 1000,
    recoverySeconds,
    writes: sum('write'),
    reads: sum('read'),
    flushes: sum('flush'),
    fioRuns: workload.fioRuns,
    problems,
    workload,
  };
}

async function differences(arena: Arena): Promise<string[]> {
  const problems: string[] = [];
  for (const { volume, replicas } of arena.subjects) {
    const { identical, differingBlocks, deployments } = await arena.test.verify(volume);
    if (!identical) problems.push(`${volume.name}: copies differ in ${differingBlocks} blocks`);
    if (deployments.length !== replicas + 1) problems.push(`${volume.name}: ${deployments.length} copies compared`);
  }
  return problems;
}

interface Cast {
  readonly schedule: Schedule;
  readonly subject: Subject;
  readonly random: () => number;
  readonly workload: Workload;
  readonly notes: string[];
}

async function setScene(arena: Arena, { schedule, subject, random, workload, notes }: Cast): Promise<Scene> {
  const { cluster } = arena;
  const volume = await arena.volume(subject);
  const primary = cluster.node(volume.master.nodeID);
  const replicas = (volume.replicas ?? []).map(({ nodeID }) => cluster.node(nodeID));
  const bystanders = cluster.nodes.filter(({ id }) => ![primary, ...replicas].some((node) => node.id === id));
  const candidates: Record<Schedule['consumer'], readonly NodeFacts[]> = {
    primary: [primary],
    replica: replicas,
    bystander: bystanders.length > 0 ? bystanders : replicas,
    any: cluster.nodes,
  };
  return {
    arena,
    random,
    subject,
    primary,
    replicas,
    consumer: pick(random, candidates[schedule.consumer]),
    alone: true,
    kill: async (node) => {
      workload.onKill(node);
      await arena.killNode(node);
    },
    moveTo: (node) => workload.moveTo(node),
    fillDisk: async (node, leaveBytes) => {
      await workload.onFullDisk(node);
      await arena.fillDisk(node, leaveBytes);
    },
    note: (text) => notes.push(text),
  };
}
