/** What this node answers when another one, or itself, makes a request (requests.ts). */

import type { Membership } from '../../core/domain.js';
import { DomainError } from '../../core/errors.js';
import type { RememberedVolume } from '../../core/recovery.js';
import type { NodeId, VolumeId } from '../../core/types.js';
import { heldVolumes } from './held.js';
import { takeInventory } from './inventory.js';
import type { LocalDeployments } from './local-deployments.js';
import { REQUESTS, type RequestName } from './requests.js';

export interface AnswerSources {
  readonly self: NodeId;
  readonly deployments: LocalDeployments;
  /** What etcd was last seen to have. */
  readonly membershipOf: (volume: VolumeId) => Membership | undefined;
  /** Whether etcd was last seen to have a record of the volume. */
  readonly isKnown: (volume: VolumeId) => boolean;
  readonly memoryOf: (volume: VolumeId) => RememberedVolume | undefined;
  readonly etcdClusterId: string;
}

type Arguments<N extends RequestName> = ReturnType<(typeof REQUESTS)[N]['args']['parse']>;

/** Errors: DomainError('invalid') for an unknown request or malformed arguments; NoSuchDeploymentError. */
export async function answer(sources: AnswerSources, method: string, args: unknown): Promise<unknown> {
  const { deployments } = sources;
  switch (method) {
    case 'status':
      return deployments.get(checked('status', args).deployment).status();
    case 'inventory': {
      const { deployment, from, limit } = checked('inventory', args);
      return takeInventory(deployments.get(deployment).store, from, limit);
    }
    case 'survey': {
      const { volume } = checked('survey', args);
      // Copies of volumes that etcd tells of are open, or tried again and again.
      if (!sources.isKnown(volume)) await deployments.openAll(volume);
      return {
        copies: deployments.of(volume).map((hosted) => hosted.survey()),
        closed: deployments.closedOf(volume),
        unreadable: deployments.unreadable,
        remembered: sources.memoryOf(volume),
      };
    }
    case 'held': {
      const { isKnown, memoryOf } = sources;
      return heldVolumes({ states: deployments.onDisk(), isKnown, memoryOf }, checked('held', args).after);
    }
    case 'adopt':
      return adopt(sources, checked('adopt', args));
    default:
      throw new DomainError('invalid', `unknown request "${method.slice(0, 64)}"`);
  }
}

async function adopt(sources: AnswerSources, { deployment, etcdClusterId }: Arguments<'adopt'>): Promise<null> {
  const hosted = sources.deployments.get(deployment);
  if (etcdClusterId !== sources.etcdClusterId) {
    const present = sources.etcdClusterId;
    throw new DomainError('invalid-state', `node ${sources.self} uses etcd ${present}: restart its agent`);
  }
  await hosted.replicated.adoptCluster();
  hosted.onMembership(sources.membershipOf(hosted.volume));
  return null;
}

function checked<N extends RequestName>(method: N, args: unknown): Arguments<N> {
  const parsed = REQUESTS[method].args.safeParse(args);
  if (!parsed.success) throw new DomainError('invalid', `${method}: ${parsed.error.issues[0]?.path.join('.')}`);
  return parsed.data as Arguments<N>;
}
