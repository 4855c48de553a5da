/**
 * Nodes, whose records change in two ways: clients change labels, cordon and compute-only, guarded by the version that
 * they saw; the nodes themselves report their room, often, which is no new version to anybody.
 */

import { isDeepStrictEqual } from 'node:util';
import type { ClosedCopies, NodeDisks, NodeRecord } from '../../core/domain.js';
import { DomainError } from '../../core/errors.js';
import type { NodeId } from '../../core/types.js';
import type { ClusterState } from './cluster-state.js';
import { versionOf } from './encoding.js';
import { objectKey } from './keys.js';
import { type Repository, staleWrite, type Versioned } from './repository.js';

/** Attempts against reports that come in between, before 'stale-write'. */
const ATTEMPTS = 64;

/** The version of the API: that of the last change that was not a report. */
export function nodeVersion(node: NodeRecord): string {
  return versionOf(String(node.revision));
}

/** What a node says of its disks. */
export interface DiskReport {
  readonly capacity: NodeRecord['capacity'];
  readonly unusableCopies: NodeDisks['unusableCopies'];
  readonly closed: ClosedCopies['copies'];
}

export class NodeRecords {
  readonly #nodes: Repository<NodeRecord, NodeId>;
  readonly #disks: Repository<NodeDisks, NodeId>;
  readonly #closed: Repository<ClosedCopies, NodeId>;

  constructor({ nodes, disks, closed }: Pick<ClusterState, 'nodes' | 'disks' | 'closed'>) {
    this.#nodes = nodes;
    this.#disks = disks;
    this.#closed = closed;
  }

  /** See ClusterState.registerNode. */
  async register(node: Omit<NodeRecord, 'revision'>, admit: () => Promise<void>): Promise<Versioned<NodeRecord>> {
    const existing = await this.#nodes.get(node.id);
    if (existing === undefined) {
      await admit();
      return this.#nodes.create({ ...node, revision: 1 });
    }
    if (existing.value.name !== node.name) {
      throw new DomainError(
        'invalid-state',
        `node id ${node.id} is registered under the host name "${existing.value.name}", this host is "${node.name}"`,
      );
    }
    await this.#nodes.update(node.id, (current) => ({ ...current, capacity: node.capacity }));
    const { ioEndpoint, apiEndpoint, gossipEndpoint, updatedAt } = node;
    return this.update(node.id, (current) =>
      current.ioEndpoint === ioEndpoint &&
      current.apiEndpoint === apiEndpoint &&
      current.gossipEndpoint === gossipEndpoint
        ? current
        : { ...current, ioEndpoint, apiEndpoint, gossipEndpoint, updatedAt },
    );
  }

  /** Writes what room a node has, and what it cannot use of its disks. Errors: 'not-found', 'store-unavailable'. */
  async report(id: NodeId, { capacity, unusableCopies, closed }: DiskReport): Promise<void> {
    await this.#nodes.update(id, (current) => ({ ...current, capacity }));
    await say(this.#disks, id, unusableCopies === 0 ? undefined : { node: id, unusableCopies });
    await say(this.#closed, id, closed.length === 0 ? undefined : { node: id, copies: closed });
  }

  /**
   * Replaces the record by what `change` makes of it; `change` may be called several times, and nothing is written if
   * it returns the same object. `expectedVersion`: of `nodeVersion`. Errors: 'not-found', 'stale-write'.
   */
  update(
    id: NodeId,
    change: (current: NodeRecord) => NodeRecord,
    expectedVersion?: string,
  ): Promise<Versioned<NodeRecord>> {
    return this.#nodes.update(id, (current) => {
      check(current, expectedVersion);
      const next = change(current);
      return next === current ? current : { ...next, revision: current.revision + 1 };
    });
  }

  /** Errors: 'not-found', 'stale-write'. */
  async remove(id: NodeId, expectedVersion?: string): Promise<void> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const { value, version } = await this.#nodes.require(id);
      check(value, expectedVersion);
      try {
        return await this.#nodes.remove(
          id,
          version,
          [],
          [{ remove: objectKey('disks', id) }, { remove: objectKey('closed', id) }],
        );
      } catch (error) {
        if (!(error instanceof DomainError && error.code === 'stale-write')) throw error;
      }
    }
    throw staleWrite(`node ${id}`);
  }
}

/** `value`: undefined where there is nothing to be said. Nobody else writes it. */
async function say<T extends object>(records: Repository<T, NodeId>, id: NodeId, value: T | undefined): Promise<void> {
  const known = await records.get(id);
  if (isDeepStrictEqual(known?.value, value)) return;
  if (value === undefined) await records.remove(id);
  else if (known === undefined) await records.create(value);
  else await records.update(id, () => value);
}

function check(node: NodeRecord, expectedVersion: string | undefined): void {
  if (expectedVersion !== undefined && nodeVersion(node) !== expectedVersion) throw staleWrite(`node ${node.id}`);
}
