/** What a schedule of faults is, and what it is given. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { NodeFacts } from '../../../cluster/facts.js';
import { waitFor } from '../../../cluster/wait.js';
import type { Arena, Subject } from '../arena.js';

/** Longer than any lease, gossip's suspicion and the way to another primary together. */
const PROMOTION_TIMEOUT_MS = 60_000;
const SHORT_PROMOTION_MS = 8_000;

export interface Scene {
  readonly arena: Arena;
  /** The same for the same seed; what else happens is not. */
  readonly random: () => number;
  /** The volume that is aimed at. */
  readonly subject: Subject;
  /** Where its copies were when the round began, and where all volumes are attached. */
  readonly primary: NodeFacts;
  readonly replicas: readonly NodeFacts[];
  readonly consumer: NodeFacts;
  /** Nothing else is broken meanwhile. */
  readonly alone: boolean;
  /** SIGKILL; the clients know if it was their node. */
  kill(node: NodeFacts): Promise<void>;
  /** All volumes are attached to another node, and have clients there too; those here may get errors from now on. */
  moveTo(node: NodeFacts): Promise<void>;
  /** Leaves so many bytes on a node's disk. Volumes that are served from there may say that it is full. */
  fillDisk(node: NodeFacts, leaveBytes: number): Promise<void>;
  /** Something to be told of the round. */
  note(text: string): void;
}

export interface Schedule {
  readonly name: string;
  /** Where the volumes are attached. A bystander has no copy of the subject; where every node has one, it is a replica's. */
  readonly consumer: 'bystander' | 'replica' | 'primary' | 'any';
  /** Whether the clients' agent goes on and keeps the volumes: fio, which can't do without its connection, can run all the while. */
  readonly connectionsLast: boolean;
  /** Breaks things; they need not be mended. */
  run(scene: Scene): Promise<void>;
}

/** A whole number from `low` to `high`. */
export function between(random: () => number, low: number, high: number): number {
  return low + Math.floor(random() * (high - low + 1));
}

export function pick<T>(random: () => number, items: readonly T[]): T {
  return items[Math.floor(random() * items.length)]!;
}

/** Fisher and Yates. */
export function shuffled<T>(random: () => number, items: readonly T[]): T[] {
  const all = [...items];
  for (let i = all.length - 1; i > 0; i--) {
    const j = between(random, 0, i);
    [all[i], all[j]] = [all[j]!, all[i]!];
  }
  return all;
}

export async function pause({ random }: Scene, lowMs: number, highMs: number): Promise<void> {
  await sleep(between(random, lowMs, highMs));
}

/**
 * Until the subject is served from another node than `from`. Notes how long that took. Where something else is broken,
 * too, that may not come to pass before that is mended: then it is not waited for any longer.
 */
export async function promoted(scene: Scene, from: NodeFacts): Promise<void> {
  const began = performance.now();
  const timeoutMs = scene.alone ? PROMOTION_TIMEOUT_MS : SHORT_PROMOTION_MS;
  const another = waitFor(
    `another primary of ${scene.subject.volume.name}`,
    async () => {
      const now = await scene.arena.volume(scene.subject).catch(() => undefined);
      return (now !== undefined && now.master.nodeID !== from.id && now.master.health === 'online') || undefined;
    },
    { timeoutMs, intervalMs: 250 },
  );
  if (scene.alone) await another;
  else if (!(await another.catch(() => false))) return;
  scene.note(`another primary after ${((performance.now() - began) / 1000).toFixed(1)} s`);
}

export function othersThan({ arena }: Scene, ...nodes: readonly NodeFacts[]): NodeFacts[] {
  return arena.cluster.nodes.filter(({ id }) => !nodes.some((node) => node.id === id));
}
