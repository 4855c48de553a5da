export { createAuthority, issueNodeCertificate, type KeyPair, type NodeCertificateRequest } from './authority.js';
export { PkiError, type PkiErrorKind } from './errors.js';
export {
  AUTHORITY_FILES,
  ensureAuthority,
  ensureNodeIdentity,
  followIdentity,
  type IdentityFiles,
  loadIdentity,
  NODE_FILES,
  type TlsIdentity,
} from './identity.js';
export { nodeOfCertificate, nodeOfRawCertificate, nodeUri } from './node-name.js';
