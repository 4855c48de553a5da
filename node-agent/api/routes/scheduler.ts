import { DomainError } from '../../../core/errors.js';
import type { ApiServices } from '../context.js';
import { ok, type Route, route } from '../route.js';
import {
  type ExtenderArgs,
  extenderArgs,
  extenderFilterResult,
  filterNodes,
  hostPriorityList,
  prioritiseNodes,
  type SchedulerView,
} from '../scheduler.js';

/**
 * The scheduler sends whole nodes, of some 10 KiB each: 1,600 of them. Parsing so much holds up everything else for
 * about a tenth of a second; a larger cluster lets the scheduler send names (nodeCacheCapable).
 */
const MAX_REQUEST_BYTES = 16 << 20;
/** Requests read at a time: they need no login, and each may take a multiple of its size in memory. */
const MAX_REQUESTS = 2;

/** From what the watch has seen: it answers while etcd is away, too. */
function viewOf({ dependencies: { state }, views }: ApiServices): SchedulerView {
  return {
    volumes: () => [...state.volumes.cached.values()].map(({ value }) => value),
    nodes: () => [...state.nodes.cached.values()].map(({ value }) => value),
    membership: (volume) => state.memberships.cached.get(volume)?.value,
    health: (node) => views.health(node),
  };
}

/** Errors: 'not-found' unless the extender is enabled. */
function requireEnabled(services: ApiServices): void {
  if (services.dependencies.schedulerExtender) return;
  throw new DomainError('not-found', 'the scheduler extender is not enabled (K8S_ENABLE_SCHEDULER_EXTENDER)');
}

function advice<R>(give: (args: ExtenderArgs, view: SchedulerView) => R) {
  return async ({ body }: { readonly body: ExtenderArgs }, services: ApiServices) => {
    requireEnabled(services);
    return ok(give(body, viewOf(services)));
  };
}

const common = {
  method: 'post',
  // kube-scheduler's configuration of an extender has no credentials.
  access: 'public',
  body: extenderArgs,
  maxBodyBytes: MAX_REQUEST_BYTES,
  maxConcurrent: MAX_REQUESTS,
  errors: [404],
} as const;

export const schedulerRoutes: readonly Route[] = [
  route({
    ...common,
    operationId: 'schedulerFilter',
    path: '/k8s/scheduler/filter',
    summary: 'The nodes on which a pod can use its volumes',
    description: 'For kube-scheduler. Only where K8S_ENABLE_SCHEDULER_EXTENDER is set.',
    responses: { 200: { description: 'The nodes that are left, and why others are not.', body: extenderFilterResult } },
    handler: advice(filterNodes),
  }),

  route({
    ...common,
    operationId: 'schedulerPrioritize',
    path: '/k8s/scheduler/prioritize',
    summary: 'How near the nodes are to the data of a pod',
    description: 'For kube-scheduler. Only where K8S_ENABLE_SCHEDULER_EXTENDER is set.',
    responses: { 200: { description: 'A score for each node.', body: hostPriorityList } },
    handler: advice(prioritiseNodes),
  }),
];
