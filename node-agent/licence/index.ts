export { DEVELOPER_CAPACITY_GIB, DEVELOPER_KIND, issueLicence } from './issue.js';
export { createSigningKey, loadPrivateKey, loadPublicKeys, writePublicKey } from './keys.js';
export { Licensing } from './licensing.js';
