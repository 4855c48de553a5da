/** The secrets of an embedded cluster: its certificate authority, the nodes' certificates, the cluster key. */

import { join } from 'node:path';
import type { NodeId } from '../core/types.js';
import { ensureClusterKey as ensureKeyFile } from '../node-agent/keys/index.js';
import {
  ensureAuthority as ensureAuthorityFiles,
  ensureNodeIdentity,
  type IdentityFiles,
  type KeyPair,
} from '../node-agent/pki/index.js';
import type { DataDir } from './data-dir.js';

export type NodePki = IdentityFiles;

/** Path of the cluster key, which wraps the volumes' keys; made at the first start. */
export async function ensureClusterKey(dataDir: DataDir): Promise<string> {
  const path = join(dataDir.secretsDir, 'cluster.key');
  (await ensureKeyFile(path)).fill(0);
  return path;
}

/** The folder of the volumes' wrapped keys, which all nodes of this machine share. */
export function volumeKeyDir(dataDir: DataDir): string {
  return join(dataDir.secretsDir, 'volumes');
}

/** The cluster's authority; made at the first start. */
export function ensureAuthority(dataDir: DataDir): Promise<KeyPair> {
  return ensureAuthorityFiles(dataDir.pkiDir, { cluster: dataDir.digest().slice(0, 12) });
}

/** The node's files, issued at its first start and again before they grow old. */
export function issueCertificate(
  dataDir: DataDir,
  authority: KeyPair,
  node: { readonly id: string; readonly name: string; readonly address: string },
): Promise<NodePki> {
  return ensureNodeIdentity(join(dataDir.pkiDir, node.name), authority, {
    node: node.id as NodeId,
    name: node.name,
    addresses: [node.address, node.name],
  });
}
