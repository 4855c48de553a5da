import { describe, expect, it } from 'vitest';
import type { NodeRecord } from '../../../core/domain.js';
import { DomainError } from '../../../core/errors.js';
import {
  DEFAULT_RESERVE_BYTES,
  HINT_MASTER_LABEL,
  type PlacementNode,
  type PlacementRequest,
  placeCopies,
} from '../../../core/placement.js';
import type { DeploymentId, NodeId } from '../../../core/types.js';
import { aNode } from '../../setup/records.js';

const GIB = 2 ** 30;
const id = (n: number) => `00000000-0000-4000-8000-0000000000e${n}` as NodeId;

function node(
  n: number,
  patch: Partial<NodeRecord> & { availableBytes?: number } = {},
  more: Partial<PlacementNode> = {},
) {
  const { availableBytes = 500 * GIB, ...record } = patch;
  const capacity = { totalBytes: 1000 * GIB, freeBytes: availableBytes, availableBytes, reservedBytes: 0 };
  return { record: aNode({ id: id(n), name: `node${n}`, capacity, ...record }), online: true, copies: 0, ...more };
}

interface VolumePatch extends Partial<PlacementRequest['volume']> {
  on?: number[];
  /** Tells its deployments from those of other volumes. */
  salt?: number;
}

function place(nodes: PlacementNode[], count: number, { on = [], salt = 0, ...volume }: VolumePatch = {}) {
  return placeCopies(nodes, {
    volume: {
      labels: {},
      placements: on.map((n) => ({ deployment: `d${n}` as DeploymentId, node: id(n) })),
      ...volume,
    },
    deployments: Array.from({ length: count }, (_, i) => `new-${salt}-${i}` as DeploymentId),
    reserveBytes: DEFAULT_RESERVE_BYTES,
  });
}

function refusal(run: () => unknown): DomainError {
  try {
    run();
  } catch (error) {
    if (error instanceof DomainError) return error;
  }
  throw new Error('it was not refused');
}

describe('placeCopies', () => {
  it.each<[string, PlacementNode, string]>([
    ['offline', node(1, {}, { online: false }), 'node1 is offline'],
    ['compute-only', node(1, { computeOnly: true }), 'node1 is compute-only'],
    ['cordoned', node(1, { cordoned: true }), 'node1 is cordoned'],
    ['full', node(1, { availableBytes: GIB }), `node1 has ${GIB} bytes free, and keeps ${GIB}`],
  ])('refuses a node that is %s and says so', (_, bad, why) => {
    const error = refusal(() => place([bad], 1));
    expect(error.code).toBe('no-capacity');
    expect(error.message).toContain('1 needed, 0 found');
    expect(error.message).toContain(why);
    expect(place([bad, node(2)], 1)).toEqual([id(2)]);
  });

  it('takes a node with one byte more than the reserve', () => {
    expect(place([node(1, { availableBytes: GIB + 1 })], 1)).toEqual([id(1)]);
  });

  it('never puts two copies on one node', () => {
    expect(refusal(() => place([node(1)], 2)).message).toContain('2 needed, 1 found');
    expect(refusal(() => place([node(1)], 1, { on: [1] })).message).toContain('node1 holds a copy already');
    expect(place([node(1), node(2), node(3)], 1, { on: [1, 3] })).toEqual([id(2)]);
  });

  it('says that there are no nodes', () => {
    expect(refusal(() => place([], 1)).message).toContain('the cluster has no nodes');
  });

  it('prefers free space, then the node with fewer copies', () => {
    const nodes = [node(1, { availableBytes: 300 * GIB }), node(2, { availableBytes: 800 * GIB }), node(3)];
    expect(place(nodes, 3)).toEqual([id(2), id(3), id(1)]);
    expect(place([node(1, {}, { copies: 7 }), node(2, {}, { copies: 3 })], 1)).toEqual([id(2)]);
  });

  it('does not let a little more free space decide', () => {
    const nodes = [node(1, { availableBytes: 501 * GIB }, { copies: 9 }), node(2, {}, { copies: 1 })];
    expect(place(nodes, 1)).toEqual([id(2)]);
  });

  it('puts the first copy where the hint says, by name or id, if the node will do', () => {
    const nodes = [node(1, { availableBytes: 900 * GIB }), node(2), node(3, { cordoned: true })];
    for (const hint of ['node2', id(2)]) {
      expect(place(nodes, 2, { labels: { [HINT_MASTER_LABEL]: hint } })).toEqual([id(2), id(1)]);
    }
    expect(place(nodes, 2, { labels: { [HINT_MASTER_LABEL]: 'node3' } })).toEqual([id(1), id(2)]);
    expect(place(nodes, 1, { labels: { [HINT_MASTER_LABEL]: 'node2' }, on: [3] })).toEqual([id(1)]);
  });

  it('puts the next copy where it was asked for, if the node will do', () => {
    const nodes = [node(1, { availableBytes: 900 * GIB }), node(2), node(3, { cordoned: true })];
    expect(place(nodes, 1, { nextCopyOn: id(2) })).toEqual([id(2)]);
    expect(place(nodes, 2, { nextCopyOn: id(2) })).toEqual([id(2), id(1)]);
    expect(place(nodes, 1, { nextCopyOn: id(3) })).toEqual([id(1)]);
  });

  describe('with strategy topology-aware', () => {
    const KEY = 'topology.kubernetes.io/zone';
    const placementStrategy = { kind: 'topology-aware', topologyKey: KEY } as const;
    const inZone = (n: number, zone: string, more: Partial<PlacementNode> = {}, free = 500) =>
      node(n, { labels: { [KEY]: zone }, availableBytes: free * GIB }, more);

    it('spreads the copies over domains, and within a domain goes by free space', () => {
      const nodes = [inZone(1, 'a', {}, 900), inZone(2, 'a', {}, 800), inZone(3, 'b'), inZone(4, 'b', {}, 600)];
      expect(place(nodes, 3, { placementStrategy })).toEqual([id(1), id(4), id(2)]);
      expect(place(nodes, 3)).toEqual([id(1), id(2), id(4)]);
    });

    it('falls back to a domain that has a copy, and counts those that are placed', () => {
      expect(place([inZone(1, 'a'), inZone(2, 'a')], 2, { placementStrategy })).toEqual([id(1), id(2)]);
      const nodes = [inZone(1, 'a'), inZone(2, 'a', {}, 900), inZone(3, 'b')];
      expect(place(nodes, 1, { placementStrategy, on: [1] })).toEqual([id(3)]);
    });

    it('puts the copy in place of a lost one into the domain of the lost one', () => {
      const nodes = [inZone(1, 'a', { online: false }), inZone(2, 'a'), inZone(3, 'b'), inZone(4, 'b', {}, 900)];
      expect(place(nodes, 1, { placementStrategy, on: [1, 3] })).toEqual([id(2)]);
    });

    it('goes by the label that the volume names', () => {
      const rack = (n: number, name: string) => node(n, { labels: { rack: name } });
      const nodes = [rack(1, 'x'), rack(2, 'x'), rack(3, 'y')];
      expect(place(nodes, 2, { placementStrategy: { ...placementStrategy, topologyKey: 'rack' } })).toEqual([
        id(1),
        id(3),
      ]);
    });
  });

  it('strategy random takes every node for some volume, whatever its free space', () => {
    const nodes = [node(1, { availableBytes: 900 * GIB }), node(2), node(3), node(4, { availableBytes: 100 * GIB })];
    const first = (salt: number) => place(nodes, 1, { placementStrategy: { kind: 'random' }, salt })[0];
    const chosen = Array.from({ length: 200 }, (_, salt) => first(salt));
    for (const { record } of nodes) expect(chosen.filter((one) => one === record.id).length).toBeGreaterThan(20);
    expect(first(7)).toBe(first(7));
  });

  it('spreads many volumes over equal nodes', () => {
    const copies = [0, 0, 0];
    for (let i = 0; i < 30; i++) {
      const [chosen] = place(
        copies.map((count, n) => node(n + 1, {}, { copies: count })),
        1,
      );
      copies[Number(chosen!.at(-1)) - 1]!++;
    }
    expect(copies).toEqual([10, 10, 10]);
  });
});
