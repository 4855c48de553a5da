/** What the API answers (reference: GET /v2/openapi), as far as its clients here read it. */

export type ApiLabels = Readonly<Record<string, string>>;

interface Versioned {
  readonly id: string;
  /** RFC 3339. */
  readonly createdAt: string;
  readonly updatedAt: string;
  /** Opaque; for compare-and-swap. */
  readonly version: string;
}

export interface ApiNamespace extends Versioned {
  readonly name: string;
  readonly labels: ApiLabels | null;
}

export interface ApiNode extends Versioned {
  readonly name: string;
  readonly health: string;
  /** Bytes. */
  readonly capacity: { readonly total?: number; readonly free?: number; readonly available?: number } | null;
  /** host:port */
  readonly ioEndpoint: string;
  readonly supervisorEndpoint: string;
  readonly gossipEndpoint: string;
  readonly clusteringEndpoint: string;
  readonly cordoned?: boolean;
  /** Only ours; absent: none. */
  readonly unusableCopies?: number;
  readonly labels: ApiLabels | null;
}

export interface ApiSyncProgress {
  /** Only ours; absent from StorageOS's own nodes. */
  readonly bytesTotal?: number;
  readonly bytesRemaining?: number;
  readonly throughputBytes?: number;
  readonly estimatedSecondsRemaining?: number;
}

export interface ApiDeployment {
  readonly id: string;
  readonly nodeID: string;
  readonly hostname?: string;
  readonly health: string;
  readonly promotable?: boolean;
  readonly syncProgress?: ApiSyncProgress | null;
}

export interface ApiNfsAcl {
  readonly identity?: { readonly identityType?: string; readonly matcher?: string };
  readonly squashConfig?: { readonly uid?: number; readonly gid?: number; readonly squash?: string };
  readonly accessLevel?: string;
}

export interface ApiNfsExport {
  readonly exportID?: number;
  readonly path?: string;
  readonly pseudoPath?: string;
  readonly acls?: readonly ApiNfsAcl[] | null;
}

export interface ApiVolume extends Versioned {
  readonly name: string;
  readonly description: string;
  /** Id of a node; "" when detached. */
  readonly attachedOn: string;
  readonly attachmentType: string;
  readonly nfs: { readonly exports?: readonly ApiNfsExport[] | null; readonly serviceEndpoint?: string | null } | null;
  readonly namespaceID: string;
  readonly labels: ApiLabels | null;
  readonly fsType: string;
  readonly master: ApiDeployment;
  readonly replicas: readonly ApiDeployment[] | null;
  readonly sizeBytes: number;
}

/** What a copy of a volume says of itself. */
export interface ApiDeploymentState {
  readonly id: string;
  readonly nodeID: string;
  /** The rest is absent if it has not. */
  readonly answered: boolean;
  readonly role?: 'member' | 'opening' | 'primary';
  readonly serving?: boolean;
  readonly usedBytes?: number;
  readonly badBlocks?: number;
  readonly scrub?: {
    readonly doneBytes: number;
    readonly totalBytes: number;
    readonly passes: number;
    /** Absent: none has ended yet. */
    readonly lastPassEndedAt?: string;
  };
}

export interface ApiUser extends Versioned {
  readonly username: string;
  readonly isAdmin: boolean;
  /** Ids of policy groups. */
  readonly groups: readonly string[] | null;
}

export interface ApiPolicySpec {
  /** "*" for all. */
  readonly namespaceID: string;
  readonly resourceType: string;
  readonly readOnly: boolean;
}

export interface ApiPolicyGroup extends Versioned {
  readonly name: string;
  readonly users: readonly { readonly id: string; readonly username: string }[] | null;
  readonly specs: readonly ApiPolicySpec[] | null;
}

export interface ApiCluster extends Versioned {
  readonly disableTelemetry: boolean;
  readonly disableCrashReporting: boolean;
  readonly disableVersionCheck: boolean;
  readonly logLevel: string;
  readonly logFormat: string;
}

export interface ApiLicence {
  readonly clusterID: string;
  readonly expiresAt: string;
  readonly clusterCapacityBytes: number;
  readonly usedBytes: number;
  readonly kind: string;
  readonly customerName: string;
  readonly features: readonly string[] | null;
  readonly version: string;
}

/** Something that the cluster is doing, or that a volume waits for. */
export interface ApiOperation {
  readonly id: string;
  /** The workflow's type: `DeltaSync`, `Failover`, or `Volume` for a volume that is not as it is wanted. */
  readonly kind: string;
  /** '' where it is about no volume, namespace or node. */
  readonly volumeID: string;
  readonly volumeName: string;
  readonly namespaceID: string;
  readonly nodeID: string;
  readonly startedAt: string;
  readonly summary: string;
  /** '' if it waits for nothing but its own work. */
  readonly waitsFor: string;
  readonly progress?: {
    readonly percent: number;
    readonly blocksDone: number;
    readonly blocksTotal: number;
    readonly bytesCopied: number;
    readonly bytesPerSecond: number;
    /** Absent while nothing is copied. */
    readonly secondsLeft?: number;
  } | null;
}

/** What a recovery of a volume's membership found, or did. */
export interface ApiRecovery {
  readonly volume: string;
  /** Empty: etcd knows all that the copies know. */
  readonly reasons: readonly ('no-record' | 'epoch-behind' | 'other-cluster')[];
  /** What is lost by going on, or may be. */
  readonly risks: readonly string[];
  readonly primary?: { readonly deployment: string; readonly node: string };
  readonly inSync?: readonly string[];
  readonly epoch?: number;
  readonly recovered: boolean;
}

/** Volumes of which nodes have copies and etcd has no record. */
export interface ApiLostVolumes {
  readonly volumes: readonly {
    readonly id: string;
    /** '' where no node remembers it. */
    readonly name: string;
    readonly namespaceName: string;
    readonly sizeBytes: number;
    readonly epoch: number;
    readonly copies: readonly { readonly deployment: string; readonly node: string }[];
  }[];
  /** Nodes that did not answer. */
  readonly silent: readonly string[];
}

/** What is known of one of them, or was done. */
export interface ApiLostVolume extends ApiRecovery {
  readonly name: string;
  readonly namespaceName: string;
  readonly sizeBytes: number;
  /** What has to be mended or decided before it can come back. */
  readonly obstacles: readonly string[];
  readonly copies: readonly {
    readonly deployment: string;
    readonly node: string;
    readonly promised?: number;
    readonly last?: { readonly epoch: number; readonly sequence: number };
    readonly complete: boolean;
  }[];
}

/** What the user says of a lost volume; needed where nobody remembers it, or where it is taken. */
export interface LostVolumeWishes {
  readonly name?: string;
  readonly namespaceID?: string;
  readonly fsType?: string;
}
