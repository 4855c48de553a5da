/** The placements and the phase in a volume's record; only its workflow changes them. */

import type { ChooseCopies, Placement, Volume, VolumePhase } from '../core/domain.js';
import { DomainError } from '../core/errors.js';
import { type PlacementNode, placeCopies } from '../core/placement.js';
import type { DeploymentId, NodeId, VolumeId } from '../core/types.js';
import { askCopies, requireVolume } from './copies.js';
import type { ActivityDeps } from './deps.js';
import { ignore, tombstoneOf } from './tombstones.js';

export interface VolumeFacts {
  readonly phase: VolumePhase;
  /** Wanted, the primary among them. */
  readonly copies: number;
  readonly encryption: boolean;
  readonly placements: readonly Placement[];
}

export interface PlacementActivities {
  /** One copy for each id, the first for the primary. What is placed already stays. 'no-capacity' */
  placeVolume(request: { volume: VolumeId; deployments: readonly DeploymentId[] }): Promise<readonly Placement[]>;
  /** One more copy. 'no-capacity' */
  placeCopy(request: { volume: VolumeId; deployment: DeploymentId }): Promise<Placement>;
  /**
   * Takes copies out of the record; their nodes may erase them from then on. 'invalid-state' if one of them is in
   * sync or the primary: it was added meanwhile, and has to leave the membership first.
   */
  dropPlacements(request: { volume: VolumeId; deployments: readonly DeploymentId[] }): Promise<readonly Placement[]>;
  setPhase(request: { volume: VolumeId; phase: VolumePhase; reason?: string }): Promise<void>;
  readVolume(request: { volume: VolumeId }): Promise<VolumeFacts>;
  /**
   * Marks the volume as being deleted; returns its copies. 'invalid-state' if it is attached; if `offline` and
   * a copy answers; 'node-unavailable' if not `offline` and no copy answers.
   */
  beginDeletion(request: { volume: VolumeId; offline: boolean }): Promise<readonly Placement[]>;
  /** Removes the records and leaves tombstones. */
  finishDeletion(request: { volume: VolumeId; placements: readonly Placement[] }): Promise<void>;
}

export function createPlacementActivities(deps: ActivityDeps): PlacementActivities {
  const { state, settings } = deps;

  async function candidates(): Promise<PlacementNode[]> {
    const [nodes, liveness, volumes] = await Promise.all([
      state.nodes.list(),
      state.liveness.list(),
      state.volumes.list(),
    ]);
    const alive = new Set(liveness.map(({ value }) => value.node));
    const copies = new Map<NodeId, number>();
    for (const { value } of volumes) {
      for (const { node } of value.placements) copies.set(node, (copies.get(node) ?? 0) + 1);
    }
    return nodes.map(({ value }) => ({
      record: value,
      online: alive.has(value.id) && deps.nodeHealth(value.id) !== 'dead',
      copies: copies.get(value.id) ?? 0,
    }));
  }

  const place = async (volume: VolumeId, deployments: readonly DeploymentId[]): Promise<readonly Placement[]> => {
    const nodes = await candidates();
    const { value } = await state.volumes.update(volume, (current) => {
      if (current.phase === 'deleting') throw new DomainError('invalid-state', `volume ${volume} is being deleted`);
      const fresh = deployments.filter((id) => !current.placements.some((placed) => placed.deployment === id));
      if (fresh.length === 0) return current;
      const chosen = placeCopies(nodes, { volume: current, deployments: fresh, reserveBytes: settings.reserveBytes });
      const added = fresh.map((deployment, i) => ({ deployment, node: chosen[i]! }));
      const { nextCopyOn: _, ...rest } = current;
      return changed(rest, { placements: [...current.placements, ...added] });
    });
    return value.placements;
  };

  const changed = (volume: Volume, change: Partial<Volume>): Volume => ({
    ...volume,
    ...change,
    updatedAt: settings.timestamp(),
  });

  return {
    placeVolume: ({ volume, deployments }) => place(volume, deployments),

    async placeCopy({ volume, deployment }) {
      const placements = await place(volume, [deployment]);
      return placements.find((placed) => placed.deployment === deployment)!;
    },

    async dropPlacements({ volume, deployments }) {
      let dropped: readonly Placement[] = [];
      const choose: ChooseCopies = (current, membership) => {
        const needed = deployments.find(
          (id) => membership?.primary.deployment === id || membership?.inSync.includes(id) === true,
        );
        if (needed !== undefined) {
          throw new DomainError(
            'invalid-state',
            `deployment ${needed} of volume ${volume} is in sync: it cannot be dropped`,
          );
        }
        const kept = current.placements.filter((placed) => !deployments.includes(placed.deployment));
        dropped = current.placements.filter((placed) => deployments.includes(placed.deployment));
        return {
          volume: changed(forget(current, deployments), { placements: kept }),
          tombstones: dropped.map((placed) => tombstoneOf(volume, placed, settings.timestamp())),
        };
      };
      await state.dropCopies(volume, choose).catch(ignore('not-found'));
      return dropped;
    },

    async setPhase({ volume, phase, reason }) {
      await state.volumes.update(volume, (current) => {
        if (current.phase === phase && current.reason === reason) return current;
        // A deletion that was accepted is never taken back.
        if (current.phase === 'deleting') return current;
        const { reason: _, ...rest } = current;
        return changed(rest, { phase, ...(reason !== undefined && { reason }) });
      });
    },

    async readVolume({ volume }) {
      const { phase, replicas, encryption, placements } = await requireVolume(deps, volume);
      return { phase, copies: replicas + 1, encryption, placements };
    },

    async beginDeletion({ volume, offline }) {
      const current = await requireVolume(deps, volume);
      const attachment = await state.attachments.get(volume);
      if (attachment?.value.node !== undefined) {
        throw new DomainError('invalid-state', `volume ${current.name} is attached; detach it first`);
      }
      if (current.phase === 'ready') {
        const answers = await askCopies(deps, current.placements);
        const online = [...answers].filter(([, answer]) => answer !== 'unreachable').map(([id]) => id);
        if (offline && online.length > 0) {
          throw new DomainError(
            'invalid-state',
            `offline delete refused: deployment ${online[0]} is online; delete it without`,
          );
        }
        if (!offline && online.length === 0 && current.placements.length > 0) {
          throw new DomainError(
            'node-unavailable',
            `no node that holds volume ${current.name} answers; use offline delete if they are gone for good`,
          );
        }
      }
      const { value } = await state.volumes.update(volume, (latest) =>
        latest.phase === 'deleting' ? latest : changed(latest, { phase: 'deleting' }),
      );
      return value.placements;
    },

    async finishDeletion({ volume, placements }) {
      const tombstones = placements.map((placed) => tombstoneOf(volume, placed, settings.timestamp()));
      await state.deleteVolume(volume, tombstones).catch(ignore('not-found'));
    },
  };
}

/** Without what was said of copies that are gone. */
function forget(volume: Volume, gone: readonly DeploymentId[]): Volume {
  const { evictionCandidates = [], evicting = [], ...rest } = volume;
  const still = (ids: readonly DeploymentId[]) => ids.filter((id) => !gone.includes(id));
  const [candidates, asked] = [still(evictionCandidates), still(evicting)];
  return {
    ...rest,
    ...(candidates.length > 0 && { evictionCandidates: candidates }),
    ...(asked.length > 0 && { evicting: asked }),
  };
}
