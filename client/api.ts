/** The HTTP API, typed. */

import type { VerifyReport } from '../core/controller.js';
import { ApiError } from './errors.js';
import { type Answer, ApiTransport, type RequestOptions, type TransportOptions } from './transport.js';
import type {
  ApiDeploymentState,
  ApiLostVolume,
  ApiLostVolumes,
  ApiNamespace,
  ApiNode,
  ApiRecovery,
  ApiVolume,
  LostVolumeWishes,
} from './types.js';

/** An operation of a volume may place and fill copies. */
const OPERATION_TIMEOUT_MS = 120_000;
/** Comparing copies takes as long as reading their indexes. */
const VERIFY_TIMEOUT_MS = 600_000;
/** Every node is asked, and a primary is waited for. */
const RECOVERY_TIMEOUT_MS = 180_000;

export interface NewVolume {
  readonly name: string;
  readonly sizeBytes: number;
  readonly fsType?: string;
  readonly description?: string;
  readonly labels?: Readonly<Record<string, string>>;
}

/** What names a volume in paths. */
export type VolumeKey = Pick<ApiVolume, 'namespaceID' | 'id'>;

export function volumePath({ namespaceID, id }: VolumeKey, rest = ''): string {
  return `/namespaces/${namespaceID}/volumes/${id}${rest}`;
}

const ANY_VERSION = { version: '', 'ignore-version': 'true' };

/** Errors of every call: ApiError. */
export class ApiClient {
  readonly transport: ApiTransport;

  constructor(options: TransportOptions) {
    this.transport = new ApiTransport(options);
  }

  async get<T>(path: string): Promise<T> {
    return (await this.transport.request<T>('GET', path)).body;
  }

  request<T>(method: string, path: string, options?: RequestOptions): Promise<Answer<T>> {
    return this.transport.request<T>(method, path, options);
  }

  nodes(): Promise<ApiNode[]> {
    return this.get('/nodes');
  }

  namespaces(): Promise<ApiNamespace[]> {
    return this.get('/namespaces');
  }

  /** Errors: ApiError with status 404 if there is none of this name. */
  async namespaceId(name: string): Promise<string> {
    const found = (await this.namespaces()).find((namespace) => namespace.name === name);
    if (found === undefined) {
      throw new ApiError('refused', 'GET /namespaces', `namespace "${name}" not found`, { status: 404 });
    }
    return found.id;
  }

  volumes(namespaceId: string): Promise<ApiVolume[]> {
    return this.get(`/namespaces/${namespaceId}/volumes`);
  }

  volume(namespaceId: string, id: string): Promise<ApiVolume> {
    return this.get(`/namespaces/${namespaceId}/volumes/${id}`);
  }

  async createVolume(namespaceId: string, volume: NewVolume): Promise<ApiVolume> {
    const { body } = await this.request<ApiVolume>('POST', `/namespaces/${namespaceId}/volumes`, {
      body: { namespaceID: namespaceId, fsType: 'ext4', labels: {}, ...volume },
      creating: true,
      timeoutMs: OPERATION_TIMEOUT_MS,
    });
    return body;
  }

  async attach(volume: VolumeKey, nodeId: string): Promise<void> {
    await this.request('POST', volumePath(volume, '/attach'), {
      body: { nodeID: nodeId },
      timeoutMs: OPERATION_TIMEOUT_MS,
    });
  }

  async detach(volume: VolumeKey): Promise<void> {
    await this.request('DELETE', volumePath(volume, '/attach'), {
      query: ANY_VERSION,
      timeoutMs: OPERATION_TIMEOUT_MS,
    });
  }

  async deleteVolume(volume: VolumeKey): Promise<void> {
    await this.request('DELETE', volumePath(volume), { query: ANY_VERSION, timeoutMs: OPERATION_TIMEOUT_MS });
  }

  async setReplicas(volume: VolumeKey, replicas: number): Promise<void> {
    await this.request('PUT', volumePath(volume, '/replicas'), {
      query: { 'ignore-version': 'true' },
      body: { replicas },
    });
  }

  /** What the volume's copies say of themselves. */
  deployments(volume: VolumeKey): Promise<ApiDeploymentState[]> {
    return this.get(volumePath(volume, '/deployments'));
  }

  /** Whether the volume's copies know more than etcd. */
  surveyRecovery(volume: VolumeKey): Promise<ApiRecovery> {
    return this.get(volumePath(volume, '/debug/recover'));
  }

  /** Makes the volume's membership anew from its copies. */
  async recover(volume: VolumeKey, acceptLoss: boolean): Promise<ApiRecovery> {
    const { body } = await this.request<ApiRecovery>('PUT', volumePath(volume, '/debug/recover'), {
      body: { acceptLoss },
      timeoutMs: RECOVERY_TIMEOUT_MS,
    });
    return body;
  }

  lostVolumes(): Promise<ApiLostVolumes> {
    return this.get('/debug/lost-volumes');
  }

  surveyLostVolume(id: string): Promise<ApiLostVolume> {
    return this.get(`/debug/lost-volumes/${id}`);
  }

  /** Makes the records of a volume anew of which etcd has none. */
  async recoverLostVolume(id: string, acceptLoss: boolean, wishes: LostVolumeWishes = {}): Promise<ApiLostVolume> {
    const { body } = await this.request<ApiLostVolume>('PUT', `/debug/lost-volumes/${id}`, {
      body: { acceptLoss, ...wishes },
      timeoutMs: RECOVERY_TIMEOUT_MS,
    });
    return body;
  }

  /** Compares all copies of the volume, block by block. */
  async verify(volume: VolumeKey): Promise<VerifyReport> {
    const { body } = await this.request<VerifyReport>('PUT', volumePath(volume, '/debug/verify'), {
      body: {},
      timeoutMs: VERIFY_TIMEOUT_MS,
    });
    return body;
  }
}
