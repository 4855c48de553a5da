/**
 * Where a copy of a volume may go: filters say why a node is out, scorers order those that are left. Every
 * volume places for itself, there is no central scheduler.
 */

import { LABEL_PREFIX, type NodeRecord, type Placement, type Volume } from './domain.js';
import { DomainError } from './errors.js';
import type { DeploymentId, NodeId } from './types.js';

/** Preferred node of the first copy, by name or id; a wish, not a condition. */
export const HINT_MASTER_LABEL = `${LABEL_PREFIX}hint.master`;

/** Free space of every data file system that volumes may not use, bytes (CAPACITY_RESERVE_BYTES). */
export const DEFAULT_RESERVE_BYTES = 2 ** 30;

/** Free space is compared in this many steps of a node's capacity. */
const FREE_SPACE_STEPS = 20;

export interface PlacementNode {
  readonly record: NodeRecord;
  readonly online: boolean;
  /** Copies of any volume that are placed there. */
  readonly copies: number;
}

export interface PlacementRequest {
  readonly volume: Pick<Volume, 'labels' | 'placements' | 'placementStrategy' | 'nextCopyOn'>;
  /** The new copies. The first of the chosen nodes gets the primary of a new volume. */
  readonly deployments: readonly DeploymentId[];
  readonly reserveBytes: number;
}

/** One of the new copies, as the scorers see it. */
export interface PlacementChoice extends PlacementRequest {
  /** Placements of the volume, those chosen a moment ago among them. */
  readonly placed: readonly Placement[];
  readonly deployment: DeploymentId;
  /** 0 for the first of the new copies. */
  readonly position: number;
  readonly nodes: ReadonlyMap<NodeId, PlacementNode>;
}

/** Undefined: the node will do. Else why it won't, to follow "it". */
export type PlacementFilter = (node: PlacementNode, request: PlacementRequest) => string | undefined;
/** Higher is better. Scorers are asked in order; a later one only decides between equals. */
export type PlacementScorer = (node: PlacementNode, choice: PlacementChoice) => number;

export const FILTERS: readonly PlacementFilter[] = [
  ({ online }) => (online ? undefined : 'is offline'),
  ({ record }) => (record.computeOnly ? 'is compute-only' : undefined),
  ({ record }) => (record.cordoned ? 'is cordoned' : undefined),
  ({ record }, { volume }) =>
    volume.placements.some((placed) => placed.node === record.id) ? 'holds a copy already' : undefined,
  ({ record }, { reserveBytes }) =>
    record.capacity.availableBytes > reserveBytes
      ? undefined
      : `has ${record.capacity.availableBytes} bytes free, and keeps ${reserveBytes}`,
];

export const SCORERS: readonly PlacementScorer[] = [
  ({ record }, { volume, position }) => (position === 0 && volume.nextCopyOn === record.id ? 1 : 0),
  ({ record }, { volume, placed }) => {
    const hint = volume.labels[HINT_MASTER_LABEL];
    return placed.length === 0 && (hint === record.name || hint === record.id) ? 1 : 0;
  },
  (node, choice) => -copiesInDomain(node, choice),
  ({ record }, { volume, deployment }) =>
    volume.placementStrategy?.kind === 'random' ? fnv1a(`${deployment}/${record.id}`) : 0,
  // In steps, so that equally empty nodes take turns although what they report is a little old.
  ({ record: { capacity } }) =>
    capacity.totalBytes === 0 ? 0 : Math.floor((capacity.availableBytes / capacity.totalBytes) * FREE_SPACE_STEPS),
  ({ copies }) => -copies,
];

/**
 * Copies of the volume that share the node's topology domain. Copies on nodes that are away don't count, so that
 * the copy in place of a lost one goes to the domain of the lost one. Nodes without the label are one domain.
 */
function copiesInDomain({ record }: PlacementNode, { volume, placed, nodes }: PlacementChoice): number {
  const { placementStrategy: strategy } = volume;
  if (strategy?.kind !== 'topology-aware') return 0;
  const domain = record.labels[strategy.topologyKey];
  return placed.filter(({ node }) => {
    const other = nodes.get(node);
    return other?.online === true && other.record.labels[strategy.topologyKey] === domain;
  }).length;
}

/** FNV-1a of 32 bits (draft-eastlake-fnv): the ids are random, so it need only be well mixed and equal everywhere. */
function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

/** Why the node can't take a copy, to follow its name; undefined: it can. */
export function placementObstacle(node: PlacementNode, request: PlacementRequest): string | undefined {
  return FILTERS.map((filter) => filter(node, request)).find((reason) => reason !== undefined);
}

/**
 * The nodes for the new copies, in their order, best first.
 * Errors: DomainError('no-capacity') that says for each node why it is out.
 */
export function placeCopies(nodes: readonly PlacementNode[], request: PlacementRequest): NodeId[] {
  const refused: string[] = [];
  let suitable = nodes.filter((node) => {
    const why = placementObstacle(node, request);
    if (why !== undefined) refused.push(`${node.record.name} ${why}`);
    return why === undefined;
  });
  const needed = request.deployments.length;
  if (suitable.length < needed) {
    const known = nodes.length === 0 ? 'the cluster has no nodes' : refused.join('; ');
    throw new DomainError(
      'no-capacity',
      `not enough suitable nodes: ${needed} needed, ${suitable.length} found${known === '' ? '' : ` (${known})`}`,
    );
  }
  const byId = new Map(nodes.map((node) => [node.record.id, node]));
  const placed = [...request.volume.placements];
  return request.deployments.map((deployment, position) => {
    const choice: PlacementChoice = { ...request, placed, deployment, position, nodes: byId };
    const best = suitable.reduce((a, b) => (isBetter(b, a, choice) ? b : a));
    suitable = suitable.filter((node) => node !== best);
    placed.push({ deployment, node: best.record.id });
    return best.record.id;
  });
}

function isBetter(a: PlacementNode, b: PlacementNode, choice: PlacementChoice): boolean {
  for (const scorer of SCORERS) {
    const difference = scorer(a, choice) - scorer(b, choice);
    if (difference !== 0) return difference > 0;
  }
  return a.record.id < b.record.id;
}
