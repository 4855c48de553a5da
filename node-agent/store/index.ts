/** The block store: deployments on disks (docs/internals/store.md). */

export type { ScrubProgress } from './deployment-store.js';
export { type Damage, NoSuchDeploymentError, StoreClosedError, StoreCorruptError, StoreFailedError } from './errors.js';
export { openFileDisk } from './file-disk.js';
export { type NewDeployment, NodeStores, type NodeStoresOptions } from './node-stores.js';
