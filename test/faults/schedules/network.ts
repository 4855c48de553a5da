/** Networks that are cut, in part or in one direction, slow, or lossy. */

import type { BinaryName } from '../../../cluster/binaries.js';
import type { NodeFacts } from '../../../cluster/facts.js';
import type { TrafficRule } from '../../setup/namespaces.js';
import { withSlowLinks } from '../links.js';
import { between, othersThan, pause, pick, promoted, type Scene, type Schedule } from './schedule.js';

/** From a moment that nothing but the data path notices, to one after which the node counts as dead. */
const SHORTEST_MS = 1_000;
const LONGEST_MS = 15_000;

async function impose({ arena }: Scene, node: NodeFacts, ...rules: readonly TrafficRule[]): Promise<void> {
  await arena.network.impose(arena.position(node), rules);
}

function oneWay({ random }: Scene): 'in' | 'out' {
  return pick(random, ['in', 'out'] as const);
}

/** All traffic between two of a volume's parties stops, in one direction or in both. */
function pair(name: string, consumer: Schedule['consumer'], ends: (scene: Scene) => [NodeFacts, NodeFacts]): Schedule {
  return {
    name,
    consumer,
    connectionsLast: true,
    run: async (scene) => {
      const [node, other] = ends(scene);
      const direction = pick(scene.random, ['in', 'out', 'both'] as const);
      scene.note(`${node.name} – ${other.name}, ${direction}`);
      await impose(scene, node, { direction, nodes: [scene.arena.position(other)] });
      await pause(scene, SHORTEST_MS, LONGEST_MS);
    },
  };
}

/** Any of the subject's parties, and a server. */
function serverApart(name: string, server: BinaryName): Schedule {
  return {
    name,
    consumer: 'any',
    connectionsLast: true,
    run: async (scene) => {
      const { arena, random } = scene;
      const node = pick(random, [scene.primary, scene.consumer, ...scene.replicas]);
      const direction = pick(random, ['in', 'out', 'both'] as const);
      scene.note(`${node.name}, ${direction}`);
      await impose(scene, node, { direction, server: arena.serverPort(server) });
      await pause(scene, SHORTEST_MS, LONGEST_MS);
    },
  };
}

export const networkSchedules: readonly Schedule[] = [
  {
    name: 'primary-isolated',
    consumer: 'bystander',
    connectionsLast: true,
    run: async (scene) => {
      await impose(scene, scene.primary, { direction: 'both' });
      await promoted(scene, scene.primary);
      await pause(scene, 0, 3_000);
    },
  },
  {
    name: 'primary-isolated-one-way',
    consumer: 'bystander',
    connectionsLast: true,
    run: async (scene) => {
      const direction = oneWay(scene);
      scene.note(direction);
      await impose(scene, scene.primary, { direction });
      await pause(scene, SHORTEST_MS, LONGEST_MS);
    },
  },
  {
    name: 'replica-isolated',
    consumer: 'primary',
    connectionsLast: true,
    run: async (scene) => {
      const direction = pick(scene.random, ['in', 'out', 'both'] as const);
      scene.note(direction);
      await impose(scene, pick(scene.random, scene.replicas), { direction });
      await pause(scene, SHORTEST_MS, LONGEST_MS);
    },
  },
  pair('primary-and-replica-apart', 'any', (scene) => [scene.primary, pick(scene.random, scene.replicas)]),
  // Everybody else sees the primary well.
  pair('frontend-and-primary-apart', 'bystander', (scene) => [scene.consumer, scene.primary]),
  serverApart('node-and-etcd-apart', 'etcd'),
  serverApart('node-and-temporal-apart', 'temporal'),
  {
    // The old primary serves its own frontend for as long as it has leases, and nobody else's writes may be missed.
    name: 'primary-and-frontend-isolated-together',
    consumer: 'primary',
    connectionsLast: false,
    run: async (scene) => {
      await impose(scene, scene.primary, { direction: 'both' });
      await promoted(scene, scene.primary);
      await scene.moveTo(pick(scene.random, othersThan(scene, scene.primary)));
      await pause(scene, 2_000, 4_000);
    },
  },
  {
    name: 'cut-again-and-again',
    consumer: 'any',
    connectionsLast: true,
    run: async (scene) => {
      const { arena, random } = scene;
      for (let times = between(random, 3, 6); times > 0; times--) {
        const node = pick(random, arena.cluster.nodes);
        const direction = pick(random, ['in', 'out', 'both'] as const);
        const nodes = pick(random, [undefined, ...othersThan(scene, node).map((other) => [arena.position(other)])]);
        await impose(scene, node, { direction, ...(nodes !== undefined && { nodes }) });
        await pause(scene, 300, 4_000);
        await arena.network.heal(arena.position(node));
        await pause(scene, 0, 1_000);
      }
    },
  },
  {
    name: 'lossy',
    consumer: 'any',
    connectionsLast: true,
    run: async (scene) => {
      const lossPercent = between(scene.random, 2, 15);
      scene.note(`${lossPercent} %`);
      for (const node of scene.arena.cluster.nodes) await impose(scene, node, { direction: 'in', lossPercent });
      await pause(scene, 8_000, LONGEST_MS);
    },
  },
  {
    name: 'gossip-lossy',
    consumer: 'any',
    connectionsLast: true,
    run: async (scene) => {
      const lossPercent = between(scene.random, 30, 100);
      scene.note(`${lossPercent} %`);
      for (const node of scene.arena.cluster.nodes) {
        await impose(scene, node, { direction: 'in', udp: true, lossPercent });
      }
      await pause(scene, 5_000, LONGEST_MS);
    },
  },
  {
    name: 'slow-links',
    consumer: 'any',
    connectionsLast: true,
    run: async (scene) => {
      const { arena, random } = scene;
      const settings = {
        delayMs: between(random, 1, 60),
        jitterMs: between(random, 0, 60),
        bytesPerSecond: pick(random, [0, 1 << 20, 8 << 20]),
        resetAfterMs: pick(random, [0, 1_000, 5_000]),
        seed: between(random, 1, 2 ** 31),
      };
      scene.note(`${settings.delayMs}+${settings.jitterMs} ms, reset after ${settings.resetAfterMs} ms`);
      const positions = arena.cluster.nodes.map((node) => arena.position(node));
      await withSlowLinks(arena.network, positions, settings, () => pause(scene, 6_000, LONGEST_MS));
    },
  },
];
