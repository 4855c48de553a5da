/** What the copies of a volume say of themselves, asked for at the moment of the request. */

import type { Placement, Volume } from '../../core/domain.js';
import type { DeploymentStatus } from '../../core/messages.js';
import type { NodeId } from '../../core/types.js';
import type { ApiDependencies, NodeHealth } from './ports.js';

/** Time that a copy has to answer, ms; it is shown as silent otherwise. */
const STATUS_TIMEOUT_MS = 1000;

/** In the order of the placements. All are asked at once, but for those on nodes that are known to be away. */
export function deploymentViews(dependencies: ApiDependencies, volume: Volume, health: (node: NodeId) => NodeHealth) {
  const { state, deploymentStatus, logger } = dependencies;
  const view = async ({ deployment, node }: Placement) => {
    const place = { id: deployment, nodeID: node, hostname: state.nodes.cached.get(node)?.value.name ?? '' };
    if (health(node) === 'offline') return { ...place, answered: false };
    try {
      const status = await deploymentStatus({ volume: volume.id, deployment, node }, STATUS_TIMEOUT_MS);
      return { ...place, answered: true, ...toldBy(status) };
    } catch (error) {
      logger.debug({ volume: volume.id, deployment, node, err: error }, 'a copy does not tell of itself');
      return { ...place, answered: false };
    }
  };
  return Promise.all(volume.placements.map(view));
}

function toldBy({ role, serving, usedBytes, badBlocks, scrub }: DeploymentStatus) {
  return { role, serving, usedBytes, badBlocks, ...(scrub !== undefined && { scrub: scrubView(scrub) }) };
}

function scrubView({ doneBytes, totalBytes, passes, endedMs }: NonNullable<DeploymentStatus['scrub']>) {
  return {
    doneBytes,
    totalBytes,
    passes,
    ...(endedMs !== null && { lastPassEndedAt: new Date(endedMs).toISOString() }),
  };
}
