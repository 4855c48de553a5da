/** The workflow's half of a promotion, and the first record of a volume. */

import { Context } from '@temporalio/activity';
import type { Placement } from '../core/domain.js';
import { DomainError } from '../core/errors.js';
import { planFailover, primaryHealth } from '../core/failover.js';
import { initialMembership } from '../core/membership.js';
import type { DeploymentStatus } from '../core/messages.js';
import type { DeploymentId, Epoch, Incarnation, NodeId, VolumeId } from '../core/types.js';
import { failoverObstacle } from '../core/volume-plan.js';
import { askCopies, withoutAbsent } from './copies.js';
import type { ActivityDeps } from './deps.js';

/** Pause between questions to a primary that is about to serve. */
const SERVING_POLL_MS = 50;

export interface NamedPrimary {
  readonly epoch: Epoch;
  readonly deployment: DeploymentId;
  readonly node: NodeId;
}

export type FailoverOutcome =
  | ({ readonly outcome: 'named'; readonly lossy: boolean } & NamedPrimary)
  /** Nothing was to be done: another primary was named meanwhile, or the present one is well after all. */
  | ({ readonly outcome: 'unneeded' } & NamedPrimary)
  | { readonly outcome: 'wait'; readonly reason: string };

export interface MembershipActivities {
  /** Writes the first record; an existing one stays. */
  initialiseMembership(request: {
    volume: VolumeId;
    placements: readonly Placement[];
    incarnation: Incarnation;
  }): Promise<NamedPrimary>;
  /** Removes the record of a volume that could not be provisioned. */
  discardMembership(request: { volume: VolumeId }): Promise<void>;
  /**
   * Asks all in-sync copies and names the candidate, if the record still has this epoch and its primary does
   * not serve (transaction 1). One that opens or is held up is left alone, unless it is `stalled`: then another
   * one is named. An outcome that etcd leaves open is retried: 'store-unavailable'.
   */
  namePrimary(request: { volume: VolumeId; epoch: Epoch; stalled?: boolean }): Promise<FailoverOutcome>;
  /** Resolves when a primary of at least this epoch serves; false after `timeoutMs`. */
  awaitServing(request: { volume: VolumeId; epoch: Epoch; timeoutMs: number }): Promise<boolean>;
}

export function createMembershipActivities(deps: ActivityDeps): MembershipActivities {
  const { state } = deps;

  return {
    async initialiseMembership({ volume, placements, incarnation }) {
      const first = placements[0];
      if (first === undefined) throw new DomainError('internal', `volume ${volume} has no placement`);
      const record = initialMembership({
        volume,
        primary: { deployment: first.deployment, node: first.node, incarnation },
        inSync: placements.map((placed) => placed.deployment),
        etcdClusterId: state.etcdClusterId,
      });
      try {
        await state.memberships.create(record);
        return { epoch: record.epoch, ...first };
      } catch (error) {
        if (!(error instanceof DomainError) || error.code !== 'already-exists') throw error;
        const found = await state.memberships.get(volume);
        if (found === undefined) throw new DomainError('stale-write', `the membership of volume ${volume} changes`);
        const { epoch, primary } = found.value;
        return { epoch, deployment: primary.deployment, node: primary.node };
      }
    },

    async discardMembership({ volume }) {
      await state.memberships.remove(volume).catch((error: unknown) => {
        if (!(error instanceof DomainError) || error.code !== 'not-found') throw error;
      });
    },

    async namePrimary({ volume, epoch, stalled }) {
      const [record, found] = await Promise.all([state.membershipStore.read(volume), state.volumes.get(volume)]);
      if (record === undefined || found === undefined) throw new DomainError('not-found', `volume ${volume} not found`);
      const present = { epoch: record.epoch, deployment: record.primary.deployment, node: record.primary.node };
      if (record.epoch !== epoch) return { outcome: 'unneeded', ...present };
      if (record.etcdClusterId !== state.etcdClusterId) {
        const reason = `the record is of etcd ${record.etcdClusterId}, this is ${state.etcdClusterId}: run "storageos recover"`;
        return { outcome: 'wait', reason };
      }

      const placements = found.value.placements;
      const members = placements.filter((placed) => record.inSync.includes(placed.deployment));
      // Placed or not, it may serve.
      if (!members.some((placed) => placed.deployment === record.primary.deployment)) members.push(record.primary);
      const answers = withoutAbsent(await askCopies(deps, members));
      const health = primaryHealth(record, answers.get(record.primary.deployment));
      if (health === 'serving' || (health === 'working' && stalled !== true)) {
        return { outcome: 'unneeded', ...present };
      }

      const step = planFailover(record, placements, answers);
      if (step.kind === 'wait') return { outcome: 'wait', reason: failoverObstacle(step) };
      const { next } = step;
      switch (await state.membershipStore.swap(record, next)) {
        case 'applied':
          return {
            outcome: 'named',
            lossy: step.lossy,
            epoch: next.epoch,
            deployment: next.primary.deployment,
            node: next.primary.node,
          };
        case 'conflict':
          throw new DomainError('stale-write', `the membership of volume ${volume} changed meanwhile`);
        case 'unknown':
          throw new DomainError('store-unavailable', `etcd did not say whether a primary was named for ${volume}`);
      }
    },

    async awaitServing({ volume, epoch, timeoutMs }) {
      const context = Context.current();
      const end = performance.now() + timeoutMs;
      while (performance.now() < end) {
        context.heartbeat();
        const record = await state.membershipStore.read(volume);
        if (record === undefined) throw new DomainError('not-found', `volume ${volume} not found`);
        if (record.epoch >= epoch && record.active) {
          const answers = await askCopies(deps, [record.primary]);
          const answer = withoutAbsent(answers).get(record.primary.deployment);
          if (primaryHealth(record, answer) === 'serving' && (answer as DeploymentStatus).promised >= epoch)
            return true;
        }
        await context.sleep(SERVING_POLL_MS);
      }
      return false;
    },
  };
}
