/** Disks that are full or rot. */

import { mended, rot, scrubbed } from '../../setup/rot.js';
import { between, pause, pick, type Scene, type Schedule } from './schedule.js';

const MIB = 1 << 20;
const RECOVERY_TIMEOUT_MS = 90_000;

/**
 * Bits change in one copy, twice, while the others are as they should be. When it says that it is whole again its agent
 * is killed: what a scrub of blocks does not see, the next recovery of the log does.
 */
async function rotAndMend(scene: Scene, node: Scene['primary']): Promise<void> {
  const { arena, random, subject } = scene;
  let changed = 0;
  for (let times = 0; times < 2; times++) {
    changed += rot(node, between(random, 128, 1024) * 1024, random);
    await pause(scene, 500, 2_000);
  }
  scene.note(`${changed} bits`);
  const volume = await arena.volume(subject);
  await scrubbed(node, volume);
  await mended(node, volume);
  await scene.kill(node);
  await arena.startNode(node);
  await arena.whole(subject, RECOVERY_TIMEOUT_MS);
}

export const diskSchedules: readonly Schedule[] = [
  {
    name: 'replica-disk-full',
    consumer: 'primary',
    connectionsLast: true,
    run: async (scene) => {
      const { random } = scene;
      await scene.fillDisk(pick(random, scene.replicas), between(random, 0, 8) * MIB);
      await pause(scene, 5_000, 12_000);
    },
  },
  {
    name: 'replica-disk-full-and-primary-killed',
    consumer: 'bystander',
    connectionsLast: true,
    run: async (scene) => {
      const { arena, random } = scene;
      await scene.fillDisk(pick(random, scene.replicas), between(random, 0, 8) * MIB);
      await pause(scene, 3_000, 8_000);
      arena.emptyDisks();
      await pause(scene, 0, 3_000);
      await scene.kill(scene.primary);
      await pause(scene, 0, 5_000);
    },
  },
  {
    // Writes are refused, reads go on; fio would give up.
    name: 'primary-disk-full',
    consumer: 'any',
    connectionsLast: false,
    run: async (scene) => {
      await scene.fillDisk(scene.primary, between(scene.random, 0, 4) * MIB);
      await pause(scene, 5_000, 12_000);
      scene.arena.emptyDisks();
      await pause(scene, 1_000, 3_000);
    },
  },
  {
    name: 'primary-rots',
    consumer: 'bystander',
    connectionsLast: true,
    run: (scene) => rotAndMend(scene, scene.primary),
  },
  {
    name: 'replica-rots-and-is-promoted',
    consumer: 'bystander',
    connectionsLast: true,
    run: async (scene) => {
      await rotAndMend(scene, pick(scene.random, scene.replicas));
      await scene.kill(scene.primary);
      await pause(scene, 0, 5_000);
    },
  },
];
