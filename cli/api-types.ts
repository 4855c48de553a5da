/** What the API answers, as far as the CLI shows it. */

export interface ApiNamespace {
  readonly id: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>> | null;
  readonly createdAt: string;
  readonly updatedAt: string;
  readonly version: string;
}

export interface ApiNode {
  readonly id: string;
  readonly name: string;
  readonly health: string;
  readonly capacity: { readonly total?: number; readonly free?: number; readonly available?: number } | null;
  readonly ioEndpoint: string;
  readonly supervisorEndpoint: string;
  readonly gossipEndpoint: string;
  readonly clusteringEndpoint: string;
  readonly cordoned?: boolean;
  readonly labels: Readonly<Record<string, string>> | null;
  readonly createdAt: string;
  readonly updatedAt: string;
  readonly version: string;
}

export interface ApiSyncProgress {
  readonly bytesRemaining?: number;
  readonly throughputBytes?: number;
  readonly estimatedSecondsRemaining?: number;
}

export interface ApiDeployment {
  readonly id: string;
  readonly nodeID: string;
  readonly health: string;
  readonly promotable?: boolean;
  readonly syncProgress?: ApiSyncProgress | null;
}

export interface ApiVolume {
  readonly id: string;
  readonly name: string;
  readonly description: string;
  readonly attachedOn: string;
  readonly attachmentType: string;
  readonly nfs: { readonly exports?: readonly unknown[] | null; readonly serviceEndpoint?: string | null } | null;
  readonly namespaceID: string;
  readonly labels: Readonly<Record<string, string>> | null;
  readonly fsType: string;
  readonly master: ApiDeployment;
  readonly replicas: readonly ApiDeployment[] | null;
  readonly sizeBytes: number;
  readonly createdAt: string;
  readonly updatedAt: string;
  readonly version: string;
}

export interface ApiUser {
  readonly id: string;
  readonly username: string;
  readonly isAdmin: boolean;
  readonly groups: readonly string[] | null;
  readonly createdAt: string;
  readonly updatedAt: string;
  readonly version: string;
}

export interface ApiCluster {
  readonly id: string;
  readonly disableTelemetry: boolean;
  readonly disableCrashReporting: boolean;
  readonly disableVersionCheck: boolean;
  readonly logLevel: string;
  readonly logFormat: string;
  readonly createdAt: string;
  readonly updatedAt: string;
  readonly version: string;
}

export interface ApiLicence {
  readonly clusterID: string;
  readonly expiresAt: string;
  readonly clusterCapacityBytes: number;
  readonly usedBytes: number;
  readonly kind: string;
  readonly customerName: string;
  readonly features: readonly string[] | null;
}
