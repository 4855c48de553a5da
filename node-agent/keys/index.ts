export { deriveKey, ensureClusterKey, loadClusterKey } from './cluster-key.js';
export { KeyError, type KeyErrorKind } from './errors.js';
export { FileKeyStore, type KeyStore } from './file-key-store.js';
export { CLUSTER_KEY_BYTES, VOLUME_KEY_BYTES, VolumeKey } from './wrap.js';
