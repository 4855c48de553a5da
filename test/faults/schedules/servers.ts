/** etcd and the Temporal server: killed, standing still, or as they were some time ago. */

import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { waitFor } from '../../../cluster/wait.js';
import type { Arena } from '../arena.js';
import { pause, pick, promoted, type Scene, type Schedule } from './schedule.js';

const TIMEOUT_MS = 60_000;

/** Until all copies answer, so that nothing is in doubt. */
async function untilAllAnswer({ arena }: Scene): Promise<void> {
  await waitFor(
    'the copies of all volumes to answer',
    async () => {
      const found = await Promise.all(arena.subjects.map(({ volume }) => arena.cluster.api.surveyRecovery(volume)));
      return found.every(({ risks }) => risks.length === 0) || undefined;
    },
    { timeoutMs: TIMEOUT_MS, intervalMs: 500 },
  );
}

/** A server is away for a time, and nothing else is wrong. */
function away(name: string, take: (arena: Arena) => unknown): Schedule {
  return {
    name,
    consumer: 'any',
    connectionsLast: true,
    run: async (scene) => {
      await take(scene.arena);
      await pause(scene, 500, 12_000);
    },
  };
}

export const serverSchedules: readonly Schedule[] = [
  away('etcd-killed', (arena) => arena.killServer('etcd')),
  away('etcd-frozen', (arena) => arena.freezeServer('etcd')),
  away('temporal-killed', (arena) => arena.killServer('temporal')),
  away('temporal-frozen', (arena) => arena.freezeServer('temporal')),
  {
    // The writes that would need a change of membership wait until there can be one.
    name: 'replica-killed-without-etcd',
    consumer: 'primary',
    connectionsLast: true,
    run: async (scene) => {
      const { arena, random } = scene;
      if (random() < 0.5) arena.freezeServer('etcd');
      else await arena.killServer('etcd');
      await pause(scene, 0, 1_000);
      await scene.kill(pick(random, scene.replicas));
      await pause(scene, 1_000, 8_000);
    },
  },
  {
    name: 'primary-killed-without-etcd',
    consumer: 'bystander',
    connectionsLast: true,
    run: async (scene) => {
      const { arena, random } = scene;
      await arena.killServer('etcd');
      await pause(scene, 0, 1_000);
      await scene.kill(scene.primary);
      await pause(scene, 0, 5_000);
      await arena.startServer('etcd');
      if (random() < 0.5) await promoted(scene, scene.primary);
    },
  },
  {
    name: 'temporal-killed-then-primary',
    consumer: 'bystander',
    connectionsLast: true,
    run: async (scene) => {
      await scene.arena.killServer('temporal');
      await scene.kill(scene.primary);
      await pause(scene, 0, 6_000);
      await scene.arena.startServer('temporal');
      await promoted(scene, scene.primary);
    },
  },
  {
    // Memberships change behind the snapshot, so that every copy is ahead of it.
    name: 'etcd-restored',
    consumer: 'primary',
    connectionsLast: true,
    run: async (scene) => {
      const { arena, random } = scene;
      const { api, dataDir } = arena.cluster;
      const data = join(dataDir.etcdDir, 'data');
      const snapshot = join(dataDir.etcdDir, 'snapshot');
      await arena.killServer('etcd');
      rmSync(snapshot, { recursive: true, force: true });
      cpSync(data, snapshot, { recursive: true });
      await arena.startServer('etcd');
      const lost = pick(random, scene.replicas);
      await scene.kill(lost);
      await pause(scene, 2_000, 12_000);
      if (random() < 0.5) await arena.startNode(lost);
      await pause(scene, 0, 8_000);

      await arena.killServer('etcd');
      rmSync(data, { recursive: true });
      cpSync(snapshot, data, { recursive: true });
      await arena.startServer('etcd');
      await arena.test.startAll();
      await untilAllAnswer(scene);
      for (const { volume } of arena.subjects) {
        const { reasons, recovered } = await api.recover(volume, false);
        scene.note(`${volume.name}: ${reasons.join(' ') || 'nothing to recover'}${recovered ? ', recovered' : ''}`);
      }
    },
  },
];
