/**
 * Advice to kube-scheduler, which asks over HTTP as its extender (k8s.io/kube-scheduler/extender/v1): a pod rather
 * runs where the data of its volumes is. Binding is left to the scheduler.
 */

import { z } from 'zod';
import type { Membership, NodeRecord, Volume } from '../../core/domain.js';
import type { NodeId, VolumeId } from '../../core/types.js';
import type { NodeHealth } from './ports.js';

/** What a node gets for each volume of the pod. */
const SCORE_MASTER = 15;
const SCORE_REPLICA = 10;
const SCORE_REMOTE = 5;
/** The volume has no master that serves, or the node's replica is not in sync: the data must come from elsewhere. */
const SCORE_UNFIT = 1;

const DRIVER = 'csi.storageos.com';
const NODE_ID_ANNOTATION = 'csi.volume.kubernetes.io/nodeid';
const PVC_NAME_LABEL = 'csi.storage.k8s.io/pvc/name';
const PVC_NAMESPACE_LABEL = 'csi.storage.k8s.io/pvc/namespace';

/** Bounds of what a scheduler may send. */
const MAX_NODES = 10_000;
const MAX_POD_VOLUMES = 1_000;

const metadata = z.looseObject({
  name: z.string().optional(),
  namespace: z.string().optional(),
  annotations: z.record(z.string(), z.string()).nullish(),
});
const kubernetesNode = z.looseObject({ metadata });
const pod = z.looseObject({
  metadata,
  spec: z
    .looseObject({
      volumes: z
        .array(
          z.looseObject({
            name: z.string().optional(),
            persistentVolumeClaim: z.looseObject({ claimName: z.string() }).nullish(),
            ephemeral: z.looseObject({}).nullish(),
          }),
        )
        .max(MAX_POD_VOLUMES)
        .nullish(),
    })
    .optional(),
});
const nodeList = z.looseObject({ items: z.array(kubernetesNode).max(MAX_NODES).nullish() });
const nodeNames = z.array(z.string()).max(MAX_NODES);

/** Versions of the scheduler differ in the case of names, of which Go takes no notice. */
export const extenderArgs = z
  .looseObject({
    Pod: pod.nullish(),
    Nodes: nodeList.nullish(),
    NodeNames: nodeNames.nullish(),
    pod: pod.nullish(),
    nodes: nodeList.nullish(),
    nodenames: nodeNames.nullish(),
  })
  .meta({ id: 'ExtenderArgs', description: 'As k8s.io/kube-scheduler/extender/v1 has it.' });

export const extenderFilterResult = z
  .object({
    Nodes: nodeList.nullable(),
    NodeNames: nodeNames.nullable(),
    FailedNodes: z.record(z.string(), z.string()),
    Error: z.string(),
  })
  .meta({ id: 'ExtenderFilterResult' });

export const hostPriorityList = z
  .array(z.object({ Host: z.string(), Score: z.number().int() }))
  .meta({ id: 'HostPriorityList' });

export type ExtenderArgs = z.output<typeof extenderArgs>;
type KubernetesNode = z.output<typeof kubernetesNode>;

/** What of the cluster the advice is made from. */
export interface SchedulerView {
  readonly volumes: () => Iterable<Volume>;
  readonly nodes: () => Iterable<NodeRecord>;
  readonly membership: (volume: VolumeId) => Membership | undefined;
  readonly health: (node: NodeId) => NodeHealth;
}

/** A node as the scheduler knows it. */
interface Candidate {
  readonly name: string;
  /** Undefined: this system does not run there. */
  readonly id: NodeId | undefined;
}

/** Nodes that can show the pod's volumes. A pod without volumes of this system, or with unknown claims, may run anywhere. */
export function filterNodes(args: ExtenderArgs, view: SchedulerView): z.input<typeof extenderFilterResult> {
  const nodes = args.Nodes ?? args.nodes ?? null;
  const names = args.NodeNames ?? args.nodenames ?? null;
  const failed = new Map<string, string>();
  if (volumesOf(args, view).length > 0) {
    for (const { name, id } of candidates(args, view)) {
      if (id === undefined) failed.set(name, 'the storage system does not run here');
      else if (view.health(id) !== 'online') failed.set(name, `the node is ${view.health(id)} for the storage system`);
    }
  }
  const left = (node: KubernetesNode) => !failed.has(node.metadata.name ?? '');
  return {
    Nodes: nodes === null ? null : { ...nodes, items: (nodes.items ?? []).filter(left) },
    NodeNames: names === null ? null : names.filter((name) => !failed.has(name)),
    FailedNodes: Object.fromEntries(failed),
    Error: '',
  };
}

/** The mean, over the pod's volumes, of what the node is to each of them; 0 everywhere if there are none. */
export function prioritiseNodes(args: ExtenderArgs, view: SchedulerView): z.input<typeof hostPriorityList> {
  const volumes = volumesOf(args, view);
  return candidates(args, view).map(({ name, id }) => {
    const sum = volumes.reduce((total, volume) => total + score(volume, id, view), 0);
    return { Host: name, Score: volumes.length === 0 ? 0 : Math.round(sum / volumes.length) };
  });
}

function score(volume: Volume, node: NodeId | undefined, view: SchedulerView): number {
  const membership = view.membership(volume.id);
  if (membership === undefined || !membership.active || view.health(membership.primary.node) !== 'online') {
    return SCORE_UNFIT;
  }
  if (membership.primary.node === node) return SCORE_MASTER;
  const copy = volume.placements.find((placed) => placed.node === node);
  if (copy === undefined) return SCORE_REMOTE;
  return membership.inSync.includes(copy.deployment) ? SCORE_REPLICA : SCORE_UNFIT;
}

/** The pod's volumes that are known here, by the claims that they were made for. */
function volumesOf(args: ExtenderArgs, view: SchedulerView): Volume[] {
  const asked = args.Pod ?? args.pod;
  const namespace = asked?.metadata.namespace ?? 'default';
  const claims = new Set(
    (asked?.spec?.volumes ?? []).flatMap(({ name, persistentVolumeClaim, ephemeral }) => {
      if (persistentVolumeClaim) return [persistentVolumeClaim.claimName];
      // The claim of a generic ephemeral volume is named after pod and volume.
      return ephemeral ? [`${asked?.metadata.name}-${name}`] : [];
    }),
  );
  if (claims.size === 0) return [];
  return [...view.volumes()].filter(
    ({ labels }) => labels[PVC_NAMESPACE_LABEL] === namespace && claims.has(labels[PVC_NAME_LABEL] ?? ''),
  );
}

function candidates(args: ExtenderArgs, view: SchedulerView): Candidate[] {
  const byName = new Map<string, NodeId>();
  const ids = new Set<string>();
  for (const { name, id } of view.nodes()) {
    byName.set(name, id);
    ids.add(id);
  }
  const nodes = (args.Nodes ?? args.nodes)?.items;
  if (nodes == null) return (args.NodeNames ?? args.nodenames ?? []).map((name) => ({ name, id: byName.get(name) }));
  return nodes.map(({ metadata: { name = '', annotations } }) => {
    const annotated = driverNodeId(annotations?.[NODE_ID_ANNOTATION]);
    return { name, id: annotated !== undefined && ids.has(annotated) ? (annotated as NodeId) : byName.get(name) };
  });
}

/** The annotation maps CSI drivers to the ids that they gave the node. */
function driverNodeId(annotation: string | undefined): string | undefined {
  if (annotation === undefined) return undefined;
  try {
    const id: unknown = JSON.parse(annotation)?.[DRIVER];
    return typeof id === 'string' ? id : undefined;
  } catch {
    return undefined;
  }
}
