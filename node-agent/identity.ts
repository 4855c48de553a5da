/** Who this node is: `config.json` below the root directory, written at the first start and never changed by the agent. */

import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { DomainError } from '../core/errors.js';
import { isUuid, type NodeId } from '../core/types.js';
import { writeFileDurably } from './durable-file.js';

const FILE = 'config.json';

const schema = z.object({
  nodeId: z
    .string()
    .refine(isUuid)
    .transform((text) => text as NodeId),
  nodeName: z.string().min(1).max(253),
  /** The cluster that this node's data belongs to. */
  clusterId: z.string().refine(isUuid),
});

export type NodeIdentity = z.infer<typeof schema>;

/**
 * The identity of the node whose data is below `rootDir`; made from `node` if there is none yet.
 * Errors: DomainError('invalid-state') when the directory belongs to another node or another cluster, which
 * would mix up the data of two; DomainError('internal') when the file is damaged.
 */
export async function establishIdentity(rootDir: string, node: NodeIdentity): Promise<NodeIdentity> {
  mkdirSync(rootDir, { recursive: true });
  const path = join(rootDir, FILE);
  const known = readIdentity(path);
  if (known === undefined) {
    await writeFileDurably(path, `${JSON.stringify(node, null, 2)}\n`);
    return node;
  }
  if (known.clusterId !== node.clusterId) {
    throw new DomainError(
      'invalid-state',
      `${path} belongs to cluster ${known.clusterId}, but etcd holds cluster ${node.clusterId}: keep this directory, ` +
        'its data is that of the first one. Point the node at its own etcd; or, if that was emptied and a new node has ' +
        'made another cluster in it, stop the new node, delete the key "cluster" below ETCD_NAMESPACE, and start this ' +
        'node before others (docs/internals/replication.md, "Volumes that etcd has lost")',
    );
  }
  if (known.nodeId !== node.nodeId) {
    throw new DomainError(
      'invalid-state',
      `${path} belongs to node ${known.nodeId} (${known.nodeName}), but the certificate is that of node ` +
        `${node.nodeId} (${node.nodeName}); give each node its own ROOT_DIR and certificate`,
    );
  }
  return known;
}

/** The cluster that the data below `rootDir` belongs to; undefined if there is none yet. Errors: DomainError('internal'). */
export function clusterOf(rootDir: string): string | undefined {
  return readIdentity(join(rootDir, FILE))?.clusterId;
}

function readIdentity(path: string): NodeIdentity | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return schema.parse(JSON.parse(text));
  } catch (cause) {
    throw new DomainError('internal', `${path} is damaged; restore it from a backup or from the node's certificate`, {
      cause,
    });
  }
}
