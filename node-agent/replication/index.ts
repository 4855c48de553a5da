export { NoSuchDeploymentError, PeerUnreachableError } from './errors.js';
export { type CopiesMemory, ReplicationHost, type ReplicationHostOptions } from './host.js';
export { type InventoryItem, type InventoryPage, MAX_INVENTORY_BLOCKS } from './inventory.js';
export { DEFAULT_TRANSPORT_SETTINGS, type TransportSettings } from './settings.js';
export { PROTOCOL_VERSION } from './wire.js';
