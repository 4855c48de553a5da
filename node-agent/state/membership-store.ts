import type { Membership } from '../../core/domain.js';
import type { MembershipStore, SwapOutcome } from '../../core/ports.js';
import type { VolumeId } from '../../core/types.js';
import { encodeValue } from './encoding.js';
import type { EtcdConnection } from './etcd.js';
import { objectKey } from './keys.js';
import type { Repository } from './repository.js';

/**
 * Memberships in etcd, changed by transactions that compare the whole previous record: its content, not its
 * revision, because revisions repeat after a restore of etcd. What another etcd than the one of this run's begin
 * answers counts for nothing: an outcome that stays open.
 */
export function createMembershipStore(
  etcd: EtcdConnection,
  memberships: Repository<Membership, VolumeId>,
  etcdClusterId: string,
): MembershipStore {
  return {
    async swap(expected: Membership, next: Membership): Promise<SwapOutcome> {
      const key = objectKey('memberships', expected.volume);
      const before = encodeValue(key, expected);
      const after = encodeValue(key, next);
      try {
        const answer = await etcd.transaction([{ key, value: before }], [{ put: key, value: after }]);
        const { succeeded, clusterId } = answer;
        if (BigInt(clusterId).toString(16) !== etcdClusterId) return 'unknown';
        return succeeded ? 'applied' : 'conflict';
      } catch {
        // Whatever went wrong on the way, the request may have arrived or may still arrive.
        return 'unknown';
      }
    },
    async read(volume: VolumeId): Promise<Membership | undefined> {
      return (await memberships.get(volume))?.value;
    },
  };
}
