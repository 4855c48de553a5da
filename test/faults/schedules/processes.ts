/** Processes that are killed, in every order, or stand still. */

import type { BinaryName } from '../../../cluster/binaries.js';
import type { NodeFacts } from '../../../cluster/facts.js';
import { between, othersThan, pause, pick, promoted, type Scene, type Schedule, shuffled } from './schedule.js';

/** Shorter than a lease, and far longer. */
const SHORTEST_FREEZE_MS = 500;
const LONGEST_FREEZE_MS = 12_000;

type Victim = NodeFacts | BinaryName;

async function kill(scene: Scene, victim: Victim): Promise<void> {
  if (typeof victim === 'string') await scene.arena.killServer(victim);
  else await scene.kill(victim);
}

async function revive({ arena, alone }: Scene, victim: Victim): Promise<void> {
  if (typeof victim === 'string') await arena.startServer(victim);
  else if (alone) await arena.startNode(victim);
  else await arena.tryStartNode(victim);
}

function nameOf(victim: Victim): string {
  return typeof victim === 'string' ? victim : victim.name;
}

export const processSchedules: readonly Schedule[] = [
  {
    name: 'primary-killed',
    consumer: 'bystander',
    connectionsLast: true,
    run: async (scene) => {
      await scene.kill(scene.primary);
      await promoted(scene, scene.primary);
      await pause(scene, 0, 8_000);
    },
  },
  {
    name: 'primary-killed-and-back-at-once',
    consumer: 'bystander',
    connectionsLast: true,
    run: async (scene) => {
      for (let times = between(scene.random, 1, 3); times > 0; times--) {
        await scene.kill(scene.primary);
        await pause(scene, 0, 500);
        await revive(scene, scene.primary);
        await pause(scene, 0, 3_000);
      }
    },
  },
  {
    name: 'replica-killed',
    consumer: 'primary',
    connectionsLast: true,
    run: async (scene) => {
      await scene.kill(pick(scene.random, scene.replicas));
      await pause(scene, 500, 10_000);
    },
  },
  {
    // The new primary is killed as soon as it serves, with the old one just back or still away.
    name: 'one-primary-after-the-other-killed',
    consumer: 'bystander',
    connectionsLast: false,
    run: async (scene) => {
      const { arena, subject, random } = scene;
      await scene.kill(scene.primary);
      await promoted(scene, scene.primary);
      const next = arena.cluster.node((await arena.volume(subject)).master.nodeID);
      if (random() < 0.5) await revive(scene, scene.primary);
      await scene.kill(next);
      await pause(scene, 0, 6_000);
    },
  },
  {
    name: 'all-agents-killed',
    consumer: 'any',
    connectionsLast: false,
    run: async (scene) => {
      await Promise.all(scene.arena.cluster.nodes.map((node) => scene.kill(node)));
      await pause(scene, 0, 8_000);
    },
  },
  {
    name: 'killed-in-some-order',
    consumer: 'any',
    connectionsLast: false,
    run: async (scene) => {
      const { arena, random } = scene;
      const victims = shuffled<Victim>(random, [...arena.cluster.nodes, 'etcd', 'temporal']);
      const some = victims.slice(0, between(random, 2, victims.length));
      scene.note(some.map(nameOf).join(' '));
      for (const victim of some) {
        await kill(scene, victim);
        await pause(scene, 0, 2_000);
      }
      // An agent can't start without etcd.
      const back = shuffled(random, some).sort((a, b) => Number(b === 'etcd') - Number(a === 'etcd'));
      for (const victim of back) {
        await revive(scene, victim);
        await pause(scene, 0, 2_000);
      }
    },
  },
  {
    name: 'primary-frozen',
    consumer: 'bystander',
    connectionsLast: true,
    run: async (scene) => {
      scene.arena.freezeNode(scene.primary);
      await pause(scene, SHORTEST_FREEZE_MS, LONGEST_FREEZE_MS);
      scene.arena.thaw();
      await pause(scene, 500, 3_000);
    },
  },
  {
    name: 'replica-frozen',
    consumer: 'primary',
    connectionsLast: true,
    run: async (scene) => {
      scene.arena.freezeNode(pick(scene.random, scene.replicas));
      await pause(scene, SHORTEST_FREEZE_MS, LONGEST_FREEZE_MS);
      scene.arena.thaw();
      await pause(scene, 500, 3_000);
    },
  },
  {
    // When it goes on, the old primary finds its own frontend's requests before it hears of anything else.
    name: 'primary-and-frontend-frozen-together',
    consumer: 'primary',
    connectionsLast: false,
    run: async (scene) => {
      scene.arena.freezeNode(scene.primary);
      await promoted(scene, scene.primary);
      await scene.moveTo(pick(scene.random, othersThan(scene, scene.primary)));
      await pause(scene, 1_000, 3_000);
      scene.arena.thaw();
      await pause(scene, 1_000, 3_000);
    },
  },
  {
    name: 'frozen-again-and-again',
    consumer: 'any',
    connectionsLast: true,
    run: async (scene) => {
      for (let times = between(scene.random, 3, 6); times > 0; times--) {
        scene.arena.freezeNode(pick(scene.random, scene.arena.cluster.nodes));
        await pause(scene, 200, 5_000);
        scene.arena.thaw();
        await pause(scene, 0, 1_500);
      }
    },
  },
];
