/** Gathers what the view of a volume is made of: records, nodes' health, and the progress of syncs. */

import type { Attachment, Membership, Volume } from '../../core/domain.js';
import type { DeploymentId, NodeId, VolumeId } from '../../core/types.js';
import type { Versioned } from '../state/cluster-state.js';
import type { ApiDependencies, NodeHealth } from './ports.js';
import { type SyncProgressView, syncProgressView } from './sync-progress.js';
import { volumeView } from './views.js';

/** Time that a primary has to tell of its syncs, ms; the view is made without them otherwise. */
const STATUS_TIMEOUT_MS = 1000;
/** Primaries that one request asks at the most. */
const MAX_STATUS_QUERIES = 64;

export type VolumeView = ReturnType<typeof volumeView>;

export class VolumeViews {
  readonly #dependencies: ApiDependencies;

  constructor(dependencies: ApiDependencies) {
    this.#dependencies = dependencies;
  }

  health(node: NodeId): NodeHealth {
    const { state, nodeHealth } = this.#dependencies;
    if (nodeHealth !== undefined) return nodeHealth(node);
    if (!state.reachable) return 'unknown';
    return state.liveness.cached.get(node) === undefined ? 'offline' : 'online';
  }

  /** `found`: the record, which may still be on its way; the others are asked for meanwhile. Rejects as it does. */
  async one(id: VolumeId, found: Versioned<Volume> | Promise<Versioned<Volume>>): Promise<VolumeView> {
    const { state } = this.#dependencies;
    const [volume, attachment, membership] = await Promise.all([
      found,
      state.attachments.getOrLastSeen(id),
      state.memberships.getOrLastSeen(id),
    ]);
    return this.#view(
      volume,
      attachment?.value,
      membership?.value,
      await this.#syncsOf(membership?.value, volume.value),
      this.#closed(),
    );
  }

  /** All nodes show the same, also at once after a change. */
  async many(volumes: readonly Versioned<Volume>[]): Promise<VolumeView[]> {
    const { state } = this.#dependencies;
    const [attachments, memberships] = await Promise.all([state.attachments.lookup(), state.memberships.lookup()]);
    const membershipOf = (id: VolumeId) => memberships.get(id)?.value;
    const asked = volumes.filter(({ value }) => this.#mayBeSyncing(value, membershipOf(value.id)));
    const syncs = new Map<VolumeId, ReadonlyMap<string, SyncProgressView | undefined>>(
      await Promise.all(
        asked
          .slice(0, MAX_STATUS_QUERIES)
          .map(async ({ value }) => [value.id, await this.#syncsOf(membershipOf(value.id), value)] as const),
      ),
    );
    const closed = this.#closed();
    return volumes.map((volume) => {
      const { id } = volume.value;
      return this.#view(volume, attachments.get(id)?.value, membershipOf(id), syncs.get(id) ?? new Map(), closed);
    });
  }

  /** Copies that their nodes should have open and have not. */
  #closed(): ReadonlySet<DeploymentId> {
    const records = [...this.#dependencies.state.closed.cached.values()];
    return new Set(records.flatMap(({ value }) => value.copies));
  }

  #view(
    volume: Versioned<Volume>,
    attachment: Attachment | undefined,
    membership: Membership | undefined,
    syncs: ReadonlyMap<string, SyncProgressView | undefined>,
    closed: ReadonlySet<DeploymentId>,
  ): VolumeView {
    const { state } = this.#dependencies;
    return volumeView(volume, {
      attachment,
      membership,
      node: (id) => state.nodes.cached.get(id)?.value,
      health: (id) => this.health(id),
      isClosed: ({ deployment }) => closed.has(deployment),
      syncs,
    });
  }

  #mayBeSyncing(volume: Volume, membership: Membership | undefined): boolean {
    return membership?.active === true && volume.placements.length > membership.inSync.length;
  }

  async #syncsOf(
    membership: Membership | undefined,
    volume: Volume,
  ): Promise<ReadonlyMap<string, SyncProgressView | undefined>> {
    const { deploymentStatus, logger } = this.#dependencies;
    if (membership === undefined || !this.#mayBeSyncing(volume, membership)) return new Map();
    const { deployment, node } = membership.primary;
    try {
      const { sync } = await deploymentStatus({ volume: volume.id, deployment, node }, STATUS_TIMEOUT_MS);
      if (sync === undefined) return new Map();
      return new Map([[sync.target, syncProgressView(sync, volume.blockSize)]]);
    } catch (error) {
      logger.debug({ volume: volume.id, node, err: error }, 'primary does not tell of its syncs');
      return new Map();
    }
  }
}
