/** The volume's workflow looks: everything that it decides by is read here, and here it is decided. */

import type { NamespaceId, NodeId, VolumeId } from '../core/types.js';
import { type Failures, type PlanMemory, planVolume, type VolumePlan } from '../core/volume-plan.js';
import { askCopies } from './copies.js';
import type { ActivityDeps } from './deps.js';

export interface LookRequest {
  readonly volume: VolumeId;
  readonly memory: PlanMemory;
  readonly failures: Failures;
  readonly running?: 'sync' | 'rebuild';
  /** The workflow's clock. */
  readonly nowMs: number;
}

/** The plan and not what it was made from goes into the workflow's history: it stays small, and the planner may change. */
export interface LookResult {
  readonly plan: VolumePlan;
  readonly namespace?: NamespaceId;
  readonly name?: string;
}

export interface LookActivities {
  lookAtVolume(request: LookRequest): Promise<LookResult>;
}

export function createLookActivities(deps: ActivityDeps): LookActivities {
  return {
    async lookAtVolume(request) {
      const { state, settings } = deps;
      const [volume, membership, attachment, nodes] = await Promise.all([
        state.volumes.get(request.volume),
        state.memberships.get(request.volume),
        state.attachments.get(request.volume),
        state.nodes.list(),
      ]);
      const placements = volume?.value.placements ?? [];
      const primary = membership?.value.primary;
      const asked =
        primary === undefined || placements.some((placed) => placed.deployment === primary.deployment)
          ? placements
          : [...placements, { deployment: primary.deployment, node: primary.node }];
      const answers = await askCopies(deps, asked);
      const plan = planVolume({
        volume: volume?.value,
        membership: membership?.value,
        answers,
        nodes: new Map(nodes.map(({ value }) => [value.id as NodeId, value])),
        attachedTo: attachment?.value.node,
        running: request.running,
        failures: request.failures,
        memory: request.memory,
        nowMs: request.nowMs,
        settings: settings.plan,
      });
      return {
        plan,
        ...(volume !== undefined && { namespace: volume.value.namespace, name: volume.value.name }),
      };
    },
  };
}
