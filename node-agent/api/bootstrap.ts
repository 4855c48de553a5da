/** What a new cluster has from the beginning: its settings, the default namespace, the first administrator. */

import { DEFAULT_NAMESPACE } from '../../core/access.js';
import type { Cluster } from '../../core/domain.js';
import { DomainError } from '../../core/errors.js';
import type { Clock, Random } from '../../core/ports.js';
import type { NamespaceId, UserId } from '../../core/types.js';
import type { ClusterState, Versioned } from '../state/cluster-state.js';
import { PasswordHasher } from './passwords.js';

export interface BootstrapOptions {
  readonly state: ClusterState;
  readonly clock: Clock;
  readonly random: Random;
  /** Of the cluster that the node's data belongs to: an etcd that has lost everything holds the same cluster again. */
  readonly clusterId?: string | undefined;
  /** The first administrator; made only while there are no users at all. */
  readonly user?: { readonly username: string; readonly password: string };
  /** How the node that makes the cluster logs. */
  readonly log?: { readonly level?: Cluster['logLevel']; readonly format?: Cluster['logFormat'] };
}

/** Another node was faster, or it was done long ago. */
async function unlessThere(made: Promise<unknown>): Promise<void> {
  try {
    await made;
  } catch (error) {
    const there = error instanceof DomainError && ['already-exists', 'invalid-state'].includes(error.code);
    if (!there) throw error;
  }
}

/** Any number of nodes may do it at the same time. Returns the cluster's settings. Errors: 'store-unavailable'. */
export async function bootstrapCluster(options: BootstrapOptions): Promise<Versioned<Cluster>> {
  const { state, clock, random, clusterId, user, log } = options;
  const now = clock.timestamp();
  const cluster = await state.ensureCluster({
    id: clusterId ?? random.uuid(),
    disableTelemetry: true,
    disableCrashReporting: true,
    disableVersionCheck: true,
    logLevel: log?.level ?? 'info',
    logFormat: log?.format ?? 'default',
    createdAt: now,
    updatedAt: now,
  });
  await unlessThere(
    state.createNamespace({
      id: random.uuid() as NamespaceId,
      name: DEFAULT_NAMESPACE,
      labels: {},
      createdAt: now,
      updatedAt: now,
    }),
  );
  if (user === undefined || (await state.users.list()).length > 0) return cluster;
  await unlessThere(
    state.accounts.create(
      {
        id: random.uuid() as UserId,
        username: user.username,
        passwordHash: await new PasswordHasher().hash(user.password),
        isAdmin: true,
        groups: [],
        sessionGeneration: 0,
        createdAt: now,
        updatedAt: now,
      },
      [{ empty: 'users/' }],
    ),
  );
  return cluster;
}
