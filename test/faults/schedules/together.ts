/** Two schedules at once. */

import { seeded } from '../../unit/store/support.js';
import { networkSchedules } from './network.js';
import { processSchedules } from './processes.js';
import { between, type Scene, type Schedule, shuffled } from './schedule.js';
import { serverSchedules } from './servers.js';

/** What leaves the clients where they are. */
const COMBINED = [...networkSchedules, ...processSchedules, ...serverSchedules].filter(
  ({ connectionsLast, consumer }) => connectionsLast && (consumer === 'any' || consumer === 'bystander'),
);

export const combinedSchedules: readonly Schedule[] = [
  {
    name: 'two-at-once',
    consumer: 'bystander',
    connectionsLast: true,
    run: async (scene) => {
      const two = shuffled(scene.random, COMBINED).slice(0, 2);
      scene.note(two.map(({ name }) => name).join(' and '));
      // Each draws its own numbers: which of them goes on first is not the seed's to say.
      const scenes = two.map((): Scene => {
        return { ...scene, alone: false, random: seeded(between(scene.random, 1, 2 ** 31)).next };
      });
      await Promise.all(two.map((schedule, i) => schedule.run(scenes[i]!)));
    },
  },
];
