/** The diagnostics bundle: what the cluster's state is, and what each node tells of itself. */

import type { NodeRecord } from '../../core/domain.js';
import type { NodeId } from '../../core/types.js';
import { jsonFile } from '../diagnostics/local.js';
import type { NodePart } from '../diagnostics/peer.js';
import { type ArchiveFile, archiveEnd, archivePart } from '../diagnostics/tar.js';
import type { Versioned } from '../state/cluster-state.js';
import type { ApiServices } from './context.js';
import { clusterView, namespaceView, nodeView, userView } from './views.js';

/** Nodes asked at a time. */
const MAX_CONCURRENT = 4;
/** Of the whole bundle, compressed; nodes that come after it are named as missing. */
const MAX_BUNDLE_BYTES = 64 << 20;

export interface Bundle {
  /** Of a tar.gz, one after the other. */
  readonly parts: readonly Buffer[];
  /** Nodes that did not answer, and other parts that are missing. */
  readonly problems: readonly string[];
}

/** As the API shows things where it shows them: without password hashes, keys and the text of the licence. */
async function clusterFiles({ dependencies: { state }, views }: ApiServices): Promise<ArchiveFile[]> {
  const values = async <T>(list: Promise<readonly Versioned<T>[]>) => (await list).map(({ value }) => value);
  const [cluster, nodes, users, namespaces] = await Promise.all([
    state.cluster(),
    state.nodes.listOrLastSeen(),
    state.users.listOrLastSeen(),
    state.namespaces.listOrLastSeen(),
  ]);
  return [
    jsonFile('cluster/cluster.json', {
      ...clusterView(cluster),
      etcdClusterId: state.etcdClusterId,
      reachable: state.reachable,
    }),
    jsonFile(
      'cluster/nodes.json',
      nodes.map((node) => nodeView(node, views.health(node.value.id), state.disks.cached.get(node.value.id)?.value)),
    ),
    jsonFile('cluster/users.json', users.map(userView)),
    jsonFile('cluster/policies.json', await values(state.policies.listOrLastSeen())),
    jsonFile('cluster/namespaces.json', namespaces.map(namespaceView)),
    jsonFile('cluster/volumes.json', await values(state.volumes.listOrLastSeen())),
    jsonFile('cluster/memberships.json', await values(state.memberships.listOrLastSeen())),
    jsonFile('cluster/attachments.json', await values(state.attachments.listOrLastSeen())),
    jsonFile('cluster/liveness.json', await values(state.liveness.listOrLastSeen())),
    jsonFile('cluster/tombstones.json', await values(state.tombstones.listOrLastSeen())),
  ];
}

function problemsFile(path: string, problems: readonly string[]): ArchiveFile {
  return { path, content: Buffer.from(problems.map((problem) => `${problem}\n`).join('')) };
}

function nodeProblemsPath(node: NodeId): string {
  return `nodes/${node}/problems.txt`;
}

/** This node's own part of a bundle, for another node or for the bundle that is made here. */
export async function localPart(services: ApiServices): Promise<NodePart> {
  const { diagnostics, self } = services.dependencies;
  const { files, problems } = await diagnostics.local();
  const report = problemsFile(nodeProblemsPath(self.node), problems);
  return { part: await archivePart([...files, report], services.now()), complete: problems.length === 0 };
}

/** Of all nodes, or of one. `authorization`: the caller's, for the other nodes. */
export async function collectBundle(services: ApiServices, authorization: string, only?: NodeId): Promise<Bundle> {
  const { state, self, diagnostics } = services.dependencies;
  const problems: string[] = [];
  const parts: Buffer[] = [];
  let bytes = 0;
  const add = (part: Buffer, what: string) => {
    if (bytes + part.length > MAX_BUNDLE_BYTES) {
      problems.push(`${what}: left out, the bundle would have more than ${MAX_BUNDLE_BYTES} bytes`);
      return;
    }
    bytes += part.length;
    parts.push(part);
  };
  const attempt = async (what: string, make: () => Promise<Buffer>) => {
    try {
      add(await make(), what);
    } catch (error) {
      problems.push(`${what}: ${(error as Error).message}`);
    }
  };
  const ofNode = async ({ value: node }: Versioned<NodeRecord>) => {
    const what = `node "${node.name}"`;
    await attempt(what, async () => {
      const { part, complete } =
        node.id === self.node ? await localPart(services) : await diagnostics.remote(node, authorization);
      if (!complete) problems.push(`${what}: incomplete, see ${nodeProblemsPath(node.id)}`);
      return part;
    });
  };

  await attempt('the state of the cluster', async () => archivePart(await clusterFiles(services), services.now()));
  const nodes = (await state.nodes.listOrLastSeen()).filter(({ value }) => only === undefined || value.id === only);
  for (let i = 0; i < nodes.length; i += MAX_CONCURRENT) {
    await Promise.all(nodes.slice(i, i + MAX_CONCURRENT).map(ofNode));
  }
  parts.push(await archivePart([problemsFile('problems.txt', problems)], services.now()));
  parts.push(await archiveEnd());
  return { parts, problems };
}
