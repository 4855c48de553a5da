/** All activities, by the task queue that offers them. */

import {
  type AttachmentActivities,
  createAttachmentActivities,
  createNodeAttachmentActivities,
  type NodeAttachmentActivities,
} from './attachments.js';
import { createDeploymentActivities, type DeploymentActivities } from './deployments.js';
import type { ActivityDeps } from './deps.js';
import { createKeyActivities, type KeyActivities } from './keys.js';
import { createLookActivities, type LookActivities } from './look.js';
import { createLostVolumeActivities, type LostVolumeActivities } from './lost-volumes.js';
import { createMembershipActivities, type MembershipActivities } from './membership.js';
import { createNodeActivities, type NodeActivities } from './nodes.js';
import { createPlacementActivities, type PlacementActivities } from './placements.js';
import { createRecoverActivities, type RecoverActivities } from './recover.js';
import { createVerifyActivities, type VerifyActivities } from './verify.js';

/** Any node can do them. */
export type SharedActivities = LookActivities &
  PlacementActivities &
  MembershipActivities &
  AttachmentActivities &
  KeyActivities &
  NodeActivities &
  VerifyActivities &
  RecoverActivities &
  LostVolumeActivities;

/** They must happen on the node whose queue they are put into. */
export type NodeBoundActivities = DeploymentActivities & NodeAttachmentActivities;

export function createSharedActivities(deps: ActivityDeps): SharedActivities {
  return {
    ...createLookActivities(deps),
    ...createPlacementActivities(deps),
    ...createMembershipActivities(deps),
    ...createAttachmentActivities(deps),
    ...createKeyActivities(deps),
    ...createNodeActivities(deps),
    ...createVerifyActivities(deps),
    ...createRecoverActivities(deps),
    ...createLostVolumeActivities(deps),
  };
}

export function createNodeBoundActivities(deps: ActivityDeps): NodeBoundActivities {
  return { ...createDeploymentActivities(deps), ...createNodeAttachmentActivities(deps) };
}
