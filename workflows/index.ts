/** Every workflow type by its name; the bundle's entry. */

export { AttachVolume } from './attach-volume.js';
export { DeleteVolume } from './delete-volume.js';
export { DeltaSync } from './delta-sync.js';
export { DetachVolume } from './detach-volume.js';
export { Failover } from './failover.js';
export { FenceNode } from './fence-node.js';
export { ProvisionVolume } from './provision-volume.js';
export { RebuildReplica } from './rebuild-replica.js';
export { RecoverVolume } from './recover-volume.js';
export { RemoveReplica } from './remove-replica.js';
export { VerifyVolume } from './verify-volume.js';
export { Volume } from './volume.js';
