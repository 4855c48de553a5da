/**
 * Where a copy of a volume may go: filters say why a node is out, scorers order those that are left. Every
 * volume places for itself, there is no central scheduler.
 */

import { LABEL_PREFIX, type NodeRecord, type Volume } from './domain.js';
import { DomainError } from './errors.js';
import type { NodeId } from './types.js';

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
  readonly volume: Pick<Volume, 'labels' | 'placements'>;
  /** The first of the chosen nodes gets the primary. */
  readonly count: number;
  readonly reserveBytes: number;
}

/** Undefined: the node will do. Else why it won't, to follow "it". */
export type PlacementFilter = (node: PlacementNode, request: PlacementRequest) => string | undefined;
/** Higher is better. Scorers are asked in order; a later one only decides between equals. */
export type PlacementScorer = (node: PlacementNode, request: PlacementRequest, position: number) => number;

export const FILTERS: readonly PlacementFilter[] = [
  ({ online }) => (online ? undefined : 'is offline'),
  ({ record }) => (record.computeOnly ? 'is compute-only' : undefined),
  ({ record }) => (record.cordoned ? 'is cordoned' : undefined),
  ({ record }, { volume }) =>
    volume.placements.some((placed) => placed.node === record.id) ? 'holds a copy already' : undefined,
  ({ record }, { reserveBytes }) =>
    record.capacity.availableBytes > reserveBytes
      ? undefined
      : `has ${record.capacity.availableBytes} bytes free, of which ${reserveBytes} are reserved`,
];

export const SCORERS: readonly PlacementScorer[] = [
  ({ record }, { volume }, position) => {
    const hint = volume.labels[HINT_MASTER_LABEL];
    return position === 0 && volume.placements.length === 0 && (hint === record.name || hint === record.id) ? 1 : 0;
  },
  // In steps, so that equally empty nodes take turns although what they report is a little old.
  ({ record: { capacity } }) =>
    capacity.totalBytes === 0 ? 0 : Math.floor((capacity.availableBytes / capacity.totalBytes) * FREE_SPACE_STEPS),
  ({ copies }) => -copies,
];

/**
 * The nodes for `request.count` new copies, best first.
 * Errors: DomainError('no-capacity') that says for each node why it is out.
 */
export function placeCopies(nodes: readonly PlacementNode[], request: PlacementRequest): NodeId[] {
  const refused: string[] = [];
  let suitable = nodes.filter((node) => {
    const why = FILTERS.map((filter) => filter(node, request)).find((reason) => reason !== undefined);
    if (why !== undefined) refused.push(`${node.record.name} ${why}`);
    return why === undefined;
  });
  if (suitable.length < request.count) {
    const known = nodes.length === 0 ? 'the cluster has no nodes' : refused.join('; ');
    throw new DomainError(
      'no-capacity',
      `not enough suitable nodes: ${request.count} needed, ${suitable.length} found${known === '' ? '' : ` (${known})`}`,
    );
  }
  const chosen: NodeId[] = [];
  for (let position = 0; position < request.count; position++) {
    const best = suitable.reduce((a, b) => (isBetter(b, a, request, position) ? b : a));
    chosen.push(best.record.id);
    suitable = suitable.filter((node) => node !== best);
  }
  return chosen;
}

function isBetter(a: PlacementNode, b: PlacementNode, request: PlacementRequest, position: number): boolean {
  for (const scorer of SCORERS) {
    const difference = scorer(a, request, position) - scorer(b, request, position);
    if (difference !== 0) return difference > 0;
  }
  return a.record.id < b.record.id;
}
