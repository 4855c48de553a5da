/** Where the copies of a volume are, and are to be. */

import { z } from 'zod';
import { MAX_REPLICAS, type Volume } from '../../../core/domain.js';
import { DomainError } from '../../../core/errors.js';
import { DEFAULT_RESERVE_BYTES, placementObstacle } from '../../../core/placement.js';
import type { DeploymentId, NodeId } from '../../../core/types.js';
import type { ApiServices } from '../context.js';
import { LABEL_REPLICAS } from '../labels.js';
import { id, optional, versionField } from '../request.js';
import { type Route, route } from '../route.js';
import { acceptedSchema } from '../schemas/common.js';
import { placementStrategy, strategySchema } from '../schemas/strategy.js';
import { ITEM, itemParams, requireReady, tellController, volumeOf, WRITE } from '../volume-requests.js';

/** Deployments of one request: more than a volume has. */
const MAX_DEPLOYMENTS = 64;

const noted = { description: 'It is noted, and heeded from now on.', body: acceptedSchema };
const accepted = { status: 200, body: { msg: 'request accepted' } } as const;
const deploymentParams = { ...itemParams, deploymentID: id<DeploymentId>('Id of a copy of the volume.') };

/** Errors: 'not-found'. */
function requireDeployment(volume: Volume, deployment: DeploymentId): void {
  if (!volume.placements.some((placed) => placed.deployment === deployment)) {
    throw new DomainError('not-found', `volume "${volume.name}" has no deployment ${deployment}`);
  }
}

/** Errors: 'not-found', 'conflict'. */
async function requireRoom({ dependencies, views }: ApiServices, volume: Volume, node: NodeId): Promise<void> {
  const { value: record } = await dependencies.state.nodes.require(node);
  const candidate = { record, online: views.health(node) !== 'offline', copies: 0 };
  const why = placementObstacle(candidate, { volume, deployments: [], reserveBytes: DEFAULT_RESERVE_BYTES });
  if (why !== undefined) throw new DomainError('conflict', `node "${record.name}" ${why}`);
}

export const volumePlacementRoutes: readonly Route[] = [
  route({
    operationId: 'setPlacementStrategy',
    method: 'put',
    path: `${ITEM}/placement-strategy`,
    summary: 'Say how nodes for further copies are chosen',
    description: 'Copies that exist stay where they are.',
    access: WRITE,
    params: itemParams,
    versioned: 'body',
    body: z.object({ placementStrategy: optional(strategySchema), version: versionField }),
    responses: { 200: noted },
    errors: [409, 422],
    handler: async (call, services) => {
      const { value } = await volumeOf(call, services);
      const strategy = placementStrategy(call.body.placementStrategy);
      await services.dependencies.state.volumes.update(
        value.id,
        (volume) => ({ ...volume, placementStrategy: strategy, updatedAt: services.now() }),
        call.expectedVersion,
      );
      return accepted;
    },
  }),

  route({
    operationId: 'setPreferredEvictionCandidates',
    method: 'put',
    path: `${ITEM}/preferred-eviction-candidates`,
    summary: 'Say which copies go rather than others when there are too many',
    description: 'Nothing goes because of it. A copy that does not answer goes before those that are named.',
    access: WRITE,
    params: itemParams,
    versioned: 'body',
    body: z.object({
      deploymentIDs: optional(z.array(id<DeploymentId>('Id of a copy.')).max(MAX_DEPLOYMENTS)),
      version: versionField,
    }),
    responses: { 200: noted },
    errors: [409],
    handler: async (call, services) => {
      const { value } = await volumeOf(call, services);
      const candidates = [...new Set(call.body.deploymentIDs)];
      await services.dependencies.state.volumes.update(
        value.id,
        (volume) => {
          for (const deployment of candidates) requireDeployment(volume, deployment);
          const { evictionCandidates: _, ...rest } = volume;
          const chosen = candidates.length > 0 && { evictionCandidates: candidates };
          return { ...rest, ...chosen, updatedAt: services.now() };
        },
        call.expectedVersion,
      );
      return accepted;
    },
  }),

  route({
    operationId: 'addDeploymentOnNode',
    method: 'put',
    path: `${ITEM}/add-deployment-on-node`,
    summary: 'Have one replica more, and make it on this node',
    description: 'If the node can take none when it comes to it, another one is chosen. Later it may be moved.',
    access: WRITE,
    params: itemParams,
    versioned: 'body',
    body: z.object({ nodeID: id<NodeId>('The node.'), version: versionField }),
    responses: { 200: noted },
    errors: [409, 422],
    handler: async (call, services) => {
      const { value } = await volumeOf(call, services);
      const { nodeID } = call.body;
      await requireRoom(services, value, nodeID);
      await services.dependencies.state.volumes.update(
        value.id,
        (volume) => {
          requireReady(volume);
          const replicas = volume.replicas + 1;
          if (replicas > MAX_REPLICAS) {
            throw new DomainError('conflict', `volume "${volume.name}" has its maximum of ${MAX_REPLICAS} replicas`);
          }
          const labels = { ...volume.labels, [LABEL_REPLICAS]: String(replicas) };
          return { ...volume, replicas, labels, nextCopyOn: nodeID, updatedAt: services.now() };
        },
        call.expectedVersion,
      );
      await tellController(services, value.id);
      return accepted;
    },
  }),

  route({
    operationId: 'evictReplica',
    method: 'delete',
    path: `${ITEM}/debug/evict/{deploymentID}`,
    summary: 'Give up a replica; another one is made in its place',
    description: 'On the same node perhaps, unless that is cordoned.',
    access: WRITE,
    params: deploymentParams,
    responses: { 202: { description: 'The replica goes from now on.' } },
    handler: async (call, services) => {
      const { state } = services.dependencies;
      const { value } = await volumeOf(call, services);
      const { deploymentID } = call.params;
      const membership = await state.memberships.get(value.id);
      if (membership?.value.primary.deployment === deploymentID) {
        throw new DomainError('invalid', `deployment ${deploymentID} is the master of volume "${value.name}"`);
      }
      await state.volumes.update(value.id, (volume) => {
        requireDeployment(volume, deploymentID);
        if (volume.evicting?.includes(deploymentID) === true) return volume;
        return { ...volume, evicting: [...(volume.evicting ?? []), deploymentID], updatedAt: services.now() };
      });
      await tellController(services, value.id);
      return { status: 202 };
    },
  }),

  route({
    operationId: 'attemptPromotion',
    method: 'put',
    path: `${ITEM}/debug/attempt-replica-promotion/{deploymentID}`,
    summary: 'Have a master replaced that does not serve',
    description:
      'The volume is looked at again. If its master is out of service, one of the replicas in sync is promoted: ' +
      'the one with the longest log, which may be another one than this. A master that serves stays: 422.',
    access: WRITE,
    params: deploymentParams,
    responses: { 202: { description: 'The volume is looked at.' } },
    errors: [412, 422],
    handler: async (call, services) => {
      const { dependencies, views } = services;
      const { value } = await volumeOf(call, services);
      const { deploymentID } = call.params;
      requireDeployment(value, deploymentID);
      requireReady(value);
      const { memberships } = dependencies.state;
      const { primary, inSync, active } = (await memberships.require(value.id)).value;
      if (primary.deployment === deploymentID) {
        throw new DomainError('invalid-state', `deployment ${deploymentID} is "master" of volume "${value.name}"`);
      }
      if (!inSync.includes(deploymentID)) {
        throw new DomainError('not-promotable', `deployment ${deploymentID} is not in sync: it cannot be promoted`);
      }
      const health = active ? views.health(primary.node) : 'offline';
      if (health === 'online') {
        throw new DomainError('invalid-state', `the master of volume "${value.name}" is "${health}": it stays`);
      }
      await dependencies.controller.changed(value.id);
      return { status: 202 };
    },
  }),
];
