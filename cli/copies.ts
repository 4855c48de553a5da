/** What the copies of volumes say of themselves, beside what etcd says of them. */

import type { Client } from './client.js';
import type { NamedVolume } from './volume-output.js';

/** Volumes whose copies are asked at the same time. */
export const MAX_PARALLEL_QUESTIONS = 16;
/** For all of them together, ms: a node that does not answer delays the question of each volume by a second. */
const QUESTIONS_MS = 5_000;

/**
 * With what their copies say. Whatever keeps some from being asked (agents that don't know the question yet, a node
 * that does not answer, time that has run out), these volumes stay as they are: all else is known of them.
 */
export async function askCopies(
  client: Pick<Client, 'deployments'>,
  volumes: readonly NamedVolume[],
  nowMs: () => number = () => performance.now(),
): Promise<NamedVolume[]> {
  const untilMs = nowMs() + QUESTIONS_MS;
  const asked: NamedVolume[] = [];
  while (asked.length < volumes.length && nowMs() < untilMs) {
    const some = volumes.slice(asked.length, asked.length + MAX_PARALLEL_QUESTIONS).map((named) =>
      client.deployments(named.volume).then(
        (copies) => ({ ...named, copies }),
        () => named,
      ),
    );
    asked.push(...(await Promise.all(some)));
  }
  return [...asked, ...volumes.slice(asked.length)];
}
