/** What depends on a node that has failed. */

import type { NodeId, VolumeId } from '../core/types.js';
import type { ActivityDeps } from './deps.js';

export interface Affected {
  /** Volumes that have a copy on the node. */
  readonly volumes: readonly VolumeId[];
  /** Volumes that are attached to it. */
  readonly attached: readonly VolumeId[];
}

export interface NodeActivities {
  affectedByNode(request: { node: NodeId }): Promise<Affected>;
  /** Signals the workflows of these volumes to look; starts those that do not run. */
  wakeVolumes(request: { volumes: readonly VolumeId[]; reason: string }): Promise<void>;
}

/** Signals under way at the same time. */
const WAKE_CONCURRENCY = 16;

export function createNodeActivities({ state, look }: Pick<ActivityDeps, 'state' | 'look'>): NodeActivities {
  return {
    async affectedByNode({ node }) {
      const [volumes, attachments] = await Promise.all([state.volumes.list(), state.attachments.list()]);
      return {
        volumes: volumes
          .filter(({ value }) => value.placements.some((placed) => placed.node === node))
          .map(({ value }) => value.id),
        attached: attachments.filter(({ value }) => value.node === node).map(({ value }) => value.volume),
      };
    },

    async wakeVolumes({ volumes, reason }) {
      const waiting = [...volumes];
      const wakeNext = async (): Promise<void> => {
        for (let volume = waiting.pop(); volume !== undefined; volume = waiting.pop()) await look(volume, reason);
      };
      await Promise.all(Array.from({ length: WAKE_CONCURRENCY }, wakeNext));
    },
  };
}
