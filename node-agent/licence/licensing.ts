/** The cluster's licence as the agent uses it: what it allows now, and taking a new one. */

import type { KeyObject } from 'node:crypto';
import type { Cluster } from '../../core/domain.js';
import { DomainError } from '../../core/errors.js';
import { checkCapacity, checkTerm, type Entitlement, entitlementOf, type LicenceTerms } from '../../core/licence.js';
import type { Clock } from '../../core/ports.js';
import type { ClusterState, Versioned } from '../state/cluster-state.js';
import { openLicence, readTerms } from './text.js';

export interface LicensingOptions {
  readonly state: Pick<ClusterState, 'cluster' | 'updateCluster'>;
  readonly clock: Clock;
  /** Licences that one of them has signed are accepted; none: no licence is. */
  readonly publicKeys: readonly KeyObject[];
}

export class Licensing {
  readonly #options: LicensingOptions;
  /** Of the text that was read last. */
  #read: { readonly text: string; readonly terms: LicenceTerms } | undefined;

  constructor(options: LicensingOptions) {
    this.#options = options;
  }

  /**
   * Signatures are checked when a licence is applied and not again: all nodes answer the same, also while the keys
   * that they accept are being replaced.
   */
  entitlement(cluster: Cluster): Entitlement {
    const { licence } = cluster;
    if (licence !== undefined && this.#read?.text !== licence)
      this.#read = { text: licence, terms: readTerms(licence) };
    return entitlementOf(cluster, licence === undefined ? undefined : this.#read?.terms);
  }

  /** Says whether volumes of `requestedBytes` may be made or grown beside those of `usedBytes`. Errors: 'licence'. */
  async admission(requestedBytes: number): Promise<(usedBytes: number) => void> {
    const { state, clock } = this.#options;
    const entitlement = this.entitlement((await state.cluster()).value);
    const now = clock.timestamp();
    return (usedBytes) => checkCapacity(entitlement, { usedBytes, requestedBytes, now });
  }

  /** Whether a node may be added now. Errors: 'licence'. */
  async admitNode(): Promise<void> {
    const { state, clock } = this.#options;
    checkTerm(this.entitlement((await state.cluster()).value), clock.timestamp());
  }

  /**
   * Replaces the licence. Errors: 'invalid' if it is not signed with a key that is accepted, for another cluster, or
   * has ended; 'stale-write'.
   */
  async apply(text: string, expectedVersion: string | undefined): Promise<Versioned<Cluster>> {
    const { state, clock, publicKeys } = this.#options;
    if (publicKeys.length === 0) {
      throw new DomainError('invalid', 'this cluster accepts no licences: LICENCE_PUBLIC_KEY_FILE is not set');
    }
    const terms = openLicence(text, publicKeys);
    const { id } = (await state.cluster()).value;
    if (terms.clusterID !== id) {
      throw new DomainError('invalid', `this licence is for cluster ${terms.clusterID}; this is cluster ${id}`);
    }
    const updatedAt = clock.timestamp();
    if (Date.parse(terms.expiresAt) <= Date.parse(updatedAt)) {
      throw new DomainError('invalid', `this licence ended at ${terms.expiresAt}`);
    }
    return state.updateCluster((cluster) => ({ ...cluster, licence: text.trim(), updatedAt }), expectedVersion);
  }
}
