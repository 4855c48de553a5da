/**
 * What a cluster's licence allows. Only making and growing volumes, and adding nodes, ever depends on it: what exists
 * can always be read, written, moved and deleted. Pure; the signed text is read in `node-agent/licence`.
 */

import type { Cluster } from './domain.js';
import { DomainError } from './errors.js';

export const GIB = 2 ** 30;

/** A cluster without a licence may be tried for so long, ms, … */
export const UNREGISTERED_MS = 24 * 3_600_000;
/** … with volumes of so many bytes together. */
export const UNREGISTERED_BYTES = 50 * GIB;
export const UNREGISTERED = 'unregistered';

/** What a licence says. */
export interface LicenceTerms {
  /** The cluster that it is for. */
  readonly clusterID: string;
  readonly customerName: string;
  /** `developer`, `professional` and so on; the system attaches no meaning to it. */
  readonly kind: string;
  /** Sum of the sizes of all volumes as requested; replicas do not count. */
  readonly clusterCapacityGiB: number;
  /** RFC 3339. */
  readonly expiresAt: string;
  /** Names of features of the system, such as `nfs`. */
  readonly features: readonly string[];
}

/** What a cluster may do now, by its licence or for lack of one. */
export interface Entitlement {
  readonly kind: string;
  readonly customerName: string;
  readonly capacityBytes: number;
  readonly expiresAt: string;
  readonly features: readonly string[];
}

export function entitlementOf(cluster: Pick<Cluster, 'createdAt'>, terms: LicenceTerms | undefined): Entitlement {
  if (terms === undefined) {
    return {
      kind: UNREGISTERED,
      customerName: '',
      capacityBytes: UNREGISTERED_BYTES,
      expiresAt: new Date(Date.parse(cluster.createdAt) + UNREGISTERED_MS).toISOString(),
      features: [],
    };
  }
  const { kind, customerName, clusterCapacityGiB, expiresAt, features } = terms;
  return { kind, customerName, capacityBytes: clusterCapacityGiB * GIB, expiresAt, features };
}

/** Errors: 'licence' once its time is over. `now`: RFC 3339. */
export function checkTerm({ kind, expiresAt }: Entitlement, now: string): void {
  if (Date.parse(now) < Date.parse(expiresAt)) return;
  const what = kind === UNREGISTERED ? 'the time in which a cluster can be used without a licence' : 'the licence';
  throw new DomainError(
    'licence',
    `${what} ended at ${expiresAt} (it is ${now}): no volumes can be made or grown and no nodes added until a valid ` +
      'licence is applied; volumes that exist stay usable',
  );
}

/**
 * Errors: 'licence' once its time is over, or if volumes of `usedBytes` and `requestedBytes` more are larger together
 * than it allows.
 */
export function checkCapacity(
  entitlement: Entitlement,
  {
    usedBytes,
    requestedBytes,
    now,
  }: { readonly usedBytes: number; readonly requestedBytes: number; readonly now: string },
): void {
  checkTerm(entitlement, now);
  const { kind, capacityBytes } = entitlement;
  if (usedBytes + requestedBytes <= capacityBytes) return;
  const whose = kind === UNREGISTERED ? 'a cluster without a licence' : `the licence (${kind})`;
  throw new DomainError(
    'licence',
    `not enough licensed capacity: ${whose} allows volumes of ${capacityBytes} bytes together ` +
      `(used ${usedBytes}, allowed ${capacityBytes}, requested ${requestedBytes})`,
  );
}

/** Errors: 'licence' if the feature is not in the licence. */
export function checkFeature({ features, kind }: Entitlement, feature: string): void {
  if (features.includes(feature)) return;
  throw new DomainError(
    'licence',
    `the licence feature "${feature}" is required; the licence (${kind}) does not have it`,
  );
}
