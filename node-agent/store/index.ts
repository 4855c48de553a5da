/** The block store: deployments on disks (docs/internals/store.md). */

export type { Capacity, DeviceSpace } from './devices.js';
export { type Damage, NoSuchDeploymentError, StoreClosedError, StoreCorruptError, StoreFailedError } from './errors.js';
export { openFileDisk } from './file-disk.js';
export {
  DEFAULT_INDEX_CACHE_BYTES,
  MIN_INDEX_CACHE_BYTES,
  type NewDeployment,
  NodeStores,
  type NodeStoresOptions,
} from './node-stores.js';
export type { IndexUse } from './paged/index-memory.js';
export type { StoreStatistics } from './statistics.js';
