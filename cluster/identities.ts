/** The secrets of an embedded cluster: its certificate authority, the nodes' certificates, the cluster key. */

import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { NodeId } from '../core/types.js';
import { writeFileDurably } from '../node-agent/durable-file.js';
import { createAuthority, issueNodeCertificate, type KeyPair } from '../node-agent/pki/authority.js';
import type { DataDir } from './data-dir.js';

const SECRET_MODE = 0o600;
const CLUSTER_KEY_BYTES = 32;

export interface NodePki {
  readonly caCert: string;
  readonly nodeCert: string;
  readonly nodeKey: string;
}

/** Path of the cluster key, which wraps the volumes' keys; made at the first start. */
export async function ensureClusterKey(dataDir: DataDir): Promise<string> {
  const path = join(dataDir.secretsDir, 'cluster.key');
  if (!existsSync(path)) await writeFileDurably(path, randomBytes(CLUSTER_KEY_BYTES), SECRET_MODE);
  return path;
}

/** The folder of the volumes' wrapped keys, which all nodes of this machine share. */
export function volumeKeyDir(dataDir: DataDir): string {
  return join(dataDir.secretsDir, 'volumes');
}

/** The cluster's authority; made at the first start. The key is written first: a certificate without it is of no use. */
export async function ensureAuthority(dataDir: DataDir): Promise<KeyPair> {
  const paths = { certificate: join(dataDir.pkiDir, 'ca.crt'), key: join(dataDir.pkiDir, 'ca.key') };
  if (existsSync(paths.certificate) && existsSync(paths.key)) {
    return { certificate: readFileSync(paths.certificate, 'utf8'), key: readFileSync(paths.key, 'utf8') };
  }
  const authority = await createAuthority({ cluster: dataDir.digest().slice(0, 12) });
  await writeFileDurably(paths.key, authority.key, SECRET_MODE);
  await writeFileDurably(paths.certificate, authority.certificate);
  return authority;
}

/** A new certificate, at every start of the node, so that none grows old. */
export async function issueCertificate(
  dataDir: DataDir,
  authority: KeyPair,
  node: { readonly id: string; readonly name: string; readonly address: string },
): Promise<NodePki> {
  const issued = await issueNodeCertificate(authority, {
    node: node.id as NodeId,
    name: node.name,
    addresses: [node.address, node.name],
  });
  const paths = {
    caCert: join(dataDir.pkiDir, 'ca.crt'),
    nodeCert: join(dataDir.pkiDir, `${node.name}.crt`),
    nodeKey: join(dataDir.pkiDir, `${node.name}.key`),
  };
  await writeFileDurably(paths.nodeKey, issued.key, SECRET_MODE);
  await writeFileDurably(paths.nodeCert, issued.certificate);
  return paths;
}
