/** One example for each endpoint, run in this order against one cluster; docs/api.md shows them with their answers. */

import { randomUUID } from 'node:crypto';
import type { DeploymentStatus } from '../../../../core/messages.js';
import type { DeploymentId, Epoch, NodeId, VolumeId } from '../../../../core/types.js';
import { signLicence } from '../../../../node-agent/licence/text.js';
import { type Fixture, licenceKeys } from '../fixture.js';

/** What earlier examples made: ids and versions, for the paths and bodies of later ones. */
export type Known = Record<string, string>;
// biome-ignore lint/suspicious/noExplicitAny: an answer of any endpoint.
type Body = any;

export interface Example {
  readonly operationId: string;
  /** Parameters of the path by name, and of the query after `?`. */
  readonly path?: (known: Known) => Readonly<Record<string, string>>;
  readonly query?: string;
  readonly body?: (known: Known) => object;
  /** 200 or 201 where it is left out. */
  readonly status?: number;
  readonly keep?: (body: Body) => Known;
  /** As another user than the administrator, whose token is known under this name. */
  readonly as?: string;
  /** What the example needs and no endpoint does. */
  readonly before?: (api: Fixture, known: Known) => Promise<void>;
  /** Said before the example. */
  readonly note?: string;
}

const ANY = 'ignore-version=true';
const GIB = 2 ** 30;
const YEAR_MS = 365 * 24 * 3_600_000;

const LABELS = {
  app: 'shop',
  'storageos.com/replicas': '1',
  'csi.storage.k8s.io/pvc/name': 'data',
  'csi.storage.k8s.io/pvc/namespace': 'shop',
};
const POD = {
  metadata: { name: 'shop-0', namespace: 'shop' },
  spec: { volumes: [{ name: 'data', persistentVolumeClaim: { claimName: 'data' } }] },
};

const volume = (known: Known) => ({ namespaceID: known.namespace!, id: known.volume! });
const replica = (known: Known) => ({ ...volume(known), deploymentID: known.replica! });
const self = (known: Known) => ({ id: known.node1! });

async function asEva(api: Fixture, known: Known): Promise<void> {
  known.eva = await api.login('eva', 'another secret');
}

export const EXAMPLES: readonly Example[] = [
  {
    operationId: 'authenticateUser',
    body: () => ({ username: 'storageos', password: 'storageos-secret' }),
    note: 'The other examples have this token in `$TOKEN`.',
  },
  { operationId: 'refreshJwt' },
  { operationId: 'getAuthenticatedUser' },

  {
    operationId: 'createNamespace',
    body: () => ({ name: 'shop', labels: { team: 'blue' } }),
    keep: ({ id, version }) => ({ shop: id, shopVersion: version }),
  },
  { operationId: 'listNamespaces' },
  { operationId: 'getNamespace', path: ({ shop }) => ({ id: shop! }) },
  {
    operationId: 'updateNamespace',
    path: ({ shop }) => ({ id: shop! }),
    body: ({ shopVersion }) => ({ labels: { team: 'green' }, version: shopVersion }),
    keep: ({ version }) => ({ shopVersion: version }),
  },

  {
    operationId: 'createPolicyGroup',
    body: ({ shop }) => ({
      name: 'shop-readers',
      specs: [{ namespaceID: shop, resourceType: 'volume', readOnly: true }],
    }),
    keep: ({ id, version }) => ({ group: id, groupVersion: version }),
  },
  { operationId: 'listPolicyGroups' },
  { operationId: 'getPolicyGroup', path: ({ group }) => ({ id: group! }) },
  {
    operationId: 'createUser',
    body: ({ group }) => ({ username: 'eva', password: 'a long secret', groups: [group] }),
    keep: ({ id, version }) => ({ user: id, userVersion: version }),
  },
  { operationId: 'listUsers' },
  { operationId: 'getUser', path: ({ user }) => ({ id: user! }) },
  {
    operationId: 'updateUser',
    path: ({ user }) => ({ id: user! }),
    body: ({ userVersion }) => ({ password: 'another secret', groups: [], version: userVersion }),
    note: 'Groups that are left out are taken away, and `isAdmin` is false; a password that is left out stays.',
  },
  { operationId: 'deleteSessions', path: ({ user }) => ({ id: user! }) },
  {
    operationId: 'updatePolicyGroup',
    path: ({ group }) => ({ id: group! }),
    body: ({ groupVersion }) => ({
      specs: [{ namespaceID: '*', resourceType: '*', readOnly: true }],
      version: groupVersion,
    }),
  },
  { operationId: 'deletePolicyGroup', path: ({ group }) => ({ id: group! }), query: ANY },
  {
    operationId: 'updateAuthenticatedUser',
    as: 'eva',
    before: asEva,
    body: () => ({ password: 'another secret' }),
    query: ANY,
  },
  { operationId: 'deleteAuthenticatedUserSessions', as: 'eva', before: asEva },
  { operationId: 'deleteAuthenticatedUser', as: 'eva', before: asEva, query: ANY },
  {
    operationId: 'deleteUser',
    before: async ({ request }, known) => {
      const made = await request('POST', '/users', { username: 'adam', password: 'a long secret' });
      known.adam = made.body.id;
      known.adamVersion = made.body.version;
    },
    path: ({ adam }) => ({ id: adam! }),
    query: 'version={adamVersion}',
  },

  { operationId: 'listNodes' },
  { operationId: 'getNode', path: self, keep: ({ version }) => ({ nodeVersion: version }) },
  {
    operationId: 'updateNode',
    path: self,
    body: ({ nodeVersion }) => ({ labels: { 'topology.kubernetes.io/zone': 'a' }, version: nodeVersion }),
  },
  { operationId: 'setComputeOnly', path: self, query: ANY, body: () => ({ computeOnly: false }) },
  { operationId: 'setCordoned', path: self, query: ANY, body: () => ({ cordoned: false }) },
  {
    operationId: 'deleteNode',
    before: async ({ offline, nodes }, known) => {
      const last = nodes.at(-1) as NodeId;
      offline.add(last);
      known.gone = last;
    },
    path: ({ gone }) => ({ id: gone! }),
    query: ANY,
  },

  { operationId: 'getCluster', keep: ({ version, id }) => ({ clusterVersion: version, cluster: id }) },
  {
    operationId: 'updateCluster',
    body: ({ clusterVersion }) => ({
      disableTelemetry: true,
      disableCrashReporting: true,
      disableVersionCheck: true,
      logLevel: 'info',
      logFormat: 'json',
      version: clusterVersion,
    }),
  },
  {
    operationId: 'updateLicence',
    before: async (_, known) => {
      known.licence = signLicence(
        {
          clusterID: known.cluster!,
          customerName: 'Example',
          kind: 'developer',
          clusterCapacityGiB: 5 * 1024,
          expiresAt: new Date(Date.now() + YEAR_MS).toISOString(),
          features: [],
        },
        licenceKeys.privateKey,
      );
    },
    query: ANY,
    body: ({ licence }) => ({ key: licence }),
  },
  { operationId: 'getLicence' },

  {
    operationId: 'createPool',
    body: ({ node1 }) => ({ name: 'fast', nodeToDriveMapping: { [node1!]: ['/dev/nvme0n1'] } }),
    status: 422,
  },
  { operationId: 'listPools' },
  { operationId: 'getPool', path: self, status: 404 },
  { operationId: 'updatePool', path: self, query: ANY, body: () => ({ nodeToDriveMapping: {} }), status: 404 },
  { operationId: 'deletePool', path: self, query: ANY, status: 404 },

  {
    operationId: 'createVolume',
    path: ({ namespace }) => ({ namespaceID: namespace! }),
    body: ({ namespace }) => ({
      name: 'data',
      namespaceID: namespace,
      sizeBytes: 5 * GIB,
      fsType: 'ext4',
      description: 'orders',
      labels: LABELS,
    }),
    keep: ({ id, version, replicas }) => ({ volume: id, volumeVersion: version, replica: replicas[0].id }),
  },
  { operationId: 'listVolumes', path: ({ namespace }) => ({ namespaceID: namespace! }) },
  { operationId: 'getVolume', path: volume },
  {
    operationId: 'updateVolume',
    path: volume,
    body: ({ volumeVersion }) => ({
      description: 'orders and invoices',
      labels: LABELS,
      version: volumeVersion,
    }),
    keep: ({ version }) => ({ volumeVersion: version }),
  },
  { operationId: 'attachVolume', path: volume, body: ({ node1 }) => ({ nodeID: node1 }) },
  { operationId: 'detachVolume', path: volume, query: ANY },
  { operationId: 'setReplicas', path: volume, query: ANY, body: () => ({ replicas: 1 }), status: 202 },
  { operationId: 'setFailureMode', path: volume, query: ANY, body: () => ({ mode: 'soft' }) },
  {
    operationId: 'setPlacementStrategy',
    path: volume,
    query: ANY,
    body: () => ({
      placementStrategy: { strategy: 'topology-aware', options: { topologyKey: 'topology.kubernetes.io/zone' } },
    }),
  },
  {
    operationId: 'setPreferredEvictionCandidates',
    path: volume,
    query: ANY,
    body: (known) => ({ deploymentIDs: [known.replica] }),
  },
  { operationId: 'addDeploymentOnNode', path: volume, query: ANY, body: ({ node3 }) => ({ nodeID: node3 }) },
  { operationId: 'evictReplica', path: replica, status: 202 },
  { operationId: 'attemptPromotion', path: replica, status: 422 },
  {
    operationId: 'resizeVolume',
    path: volume,
    query: ANY,
    body: () => ({ sizeBytes: 10 * GIB }),
    status: 422,
  },
  { operationId: 'attachNFSVolume', path: volume, query: ANY, body: () => ({}), status: 422 },
  {
    operationId: 'updateNFSVolumeMountEndpoint',
    path: volume,
    query: ANY,
    body: () => ({ mountEndpoint: '10.0.0.7:2049' }),
    status: 422,
  },
  {
    operationId: 'updateNFSVolumeExports',
    path: volume,
    query: ANY,
    body: () => ({
      exports: [
        {
          exportID: 1,
          path: '/',
          pseudoPath: '/',
          acls: [
            {
              identity: { identityType: 'hostname', matcher: '*' },
              squashConfig: { uid: 0, gid: 0, squash: 'all' },
              accessLevel: 'rw',
            },
          ],
        },
      ],
    }),
    status: 422,
  },
  {
    operationId: 'listDeployments',
    before: async ({ state, statuses }, known) => {
      const scrub = { doneBytes: GIB, totalBytes: 4 * GIB, passes: 3, endedMs: Date.parse('2026-01-02T03:04:05Z') };
      const told = { role: 'primary', serving: true, usedBytes: 5 * GIB, badBlocks: 0, scrub } as DeploymentStatus;
      const { value } = await state.volumes.require(known.volume as VolumeId);
      for (const { deployment } of value.placements) statuses.set(deployment, told);
    },
    path: volume,
  },
  { operationId: 'verifyVolume', path: volume },
  { operationId: 'surveyVolume', path: volume },
  { operationId: 'recoverVolume', path: volume, body: () => ({ acceptLoss: false }) },
  {
    operationId: 'listLostVolumes',
    before: async ({ controller, nodes }, known) => {
      known.lost = randomUUID();
      const copies = nodes.slice(0, 2).map((node) => ({ deployment: randomUUID() as DeploymentId, node }));
      const lost = { id: known.lost as VolumeId, name: 'orders', namespaceName: 'shop', sizeBytes: 5 * GIB };
      controller.lost = { volumes: [{ ...lost, epoch: 7 as Epoch, copies }], silent: [] };
    },
  },
  { operationId: 'surveyLostVolume', path: ({ lost }) => ({ id: lost! }) },
  {
    operationId: 'recoverLostVolume',
    path: ({ lost }) => ({ id: lost! }),
    body: () => ({ acceptLoss: false, name: 'orders-of-2026' }),
  },
  {
    operationId: 'schedulerFilter',
    body: () => ({ Pod: POD, NodeNames: ['node-1', 'node-2', 'elsewhere'] }),
  },
  {
    operationId: 'schedulerPrioritize',
    body: () => ({ Pod: POD, NodeNames: ['node-1', 'node-2', 'node-3'] }),
  },
  {
    operationId: 'deleteVolume',
    path: volume,
    query: `${ANY}&offline-delete=false`,
    note: 'With `async-max=20m` in the query the answer would be 202 at once.',
  },
  { operationId: 'deleteNamespace', path: ({ shop }) => ({ id: shop! }), query: 'version={shopVersion}' },

  { operationId: 'listOperations' },
  { operationId: 'getDiagnostics', note: 'curl keeps the name that the server gives with `-OJ`.' },
  { operationId: 'getSingleNodeDiagnostics', path: self },
  { operationId: 'getLocalDiagnostics', path: self },
  { operationId: 'spec' },
];
