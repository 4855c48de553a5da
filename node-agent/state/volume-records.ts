/**
 * Making and deleting volumes: several records that appear and disappear together, and the sum of all sizes, which
 * licences limit. The sum is a key of its own that every such transaction compares and writes, so that volumes made
 * at the same moment on several nodes cannot exceed a limit together.
 */

import { z } from 'zod';
import type { Attachment, ChooseCopies, Membership, Placement, Tombstone, Volume } from '../../core/domain.js';
import { DomainError } from '../../core/errors.js';
import type { RecoveredVolume } from '../../core/recovery.js';
import type { Generation, VolumeId } from '../../core/types.js';
import { decodeValue, encodeValue } from './encoding.js';
import type { Condition, EtcdConnection, Operation } from './etcd.js';
import { objectKey, PROVISIONED_KEY } from './keys.js';
import { type Repository, staleWrite, type Versioned } from './repository.js';
import { Turns } from './turns.js';

/** Attempts against competing writers before 'stale-write'. */
const ATTEMPTS = 256;

const sumSchema = z.strictObject({ bytes: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER) });

/** Throws if a volume may not be made while volumes of so many bytes exist. */
export type Admission = (usedBytes: number) => void;

/** The sum of all sizes at one moment. */
interface Sum {
  readonly bytes: number;
  /** That it is still the same. */
  readonly unchanged: Condition;
}

/** What else a transaction that makes a volume does, and which keys must not be there. */
interface Company {
  readonly absent: readonly string[];
  readonly operations: readonly Operation[];
}

export interface VolumeRecordsOptions {
  readonly etcd: EtcdConnection;
  readonly volumes: Repository<Volume, VolumeId>;
  readonly memberships: Repository<Membership, VolumeId>;
}

export class VolumeRecords {
  readonly #options: VolumeRecordsOptions;
  /** All transactions write the sum: those of this node would only fail each other. */
  readonly #turns = new Turns();

  constructor(options: VolumeRecordsOptions) {
    this.#options = options;
  }

  /** See ClusterState.createVolume. */
  create(volume: Volume, admit: Admission): Promise<Versioned<Volume>> {
    return this.#turns.run(() => this.#create(volume, 0 as Generation, admit));
  }

  /** See ClusterState.restoreVolume. */
  restore(
    volume: Volume,
    membership: Membership,
    generation: Generation,
    abandoned: readonly Tombstone[],
  ): Promise<Versioned<Volume>> {
    const membershipKey = objectKey('memberships', volume.id);
    // What exists is not refused for its size.
    const admit = () => {};
    return this.#turns.run(() =>
      this.#create(volume, generation, admit, {
        absent: [membershipKey, ...volume.placements.map(graveOf)],
        operations: [{ put: membershipKey, value: encodeValue(membershipKey, membership) }, ...abandoned.map(buried)],
      }),
    );
  }

  /** See ClusterState.recoverVolume. */
  async recover({ expected, next, placements, abandoned, timestamp }: RecoveredVolume): Promise<void> {
    const { volumes } = this.#options;
    const key = objectKey('memberships', next.volume);
    const unchanged: Condition =
      expected === undefined ? { key, is: 'absent' } : { key, value: encodeValue(key, expected) };
    const { value, version } = await volumes.require(next.volume);
    const replaced = await volumes.replace(
      { ...value, placements: [...placements], updatedAt: timestamp },
      version,
      [unchanged, ...placements.map((copy): Condition => ({ key: graveOf(copy), is: 'absent' }))],
      [{ put: key, value: encodeValue(key, next) }, ...abandoned.map(buried)],
    );
    // What was found on the copies is to be looked at again.
    if (replaced === undefined) throw staleWrite(`volume ${next.volume}`);
  }

  /** See ClusterState.dropCopies. */
  async dropCopies(id: VolumeId, choose: ChooseCopies): Promise<void> {
    const { volumes, memberships } = this.#options;
    const key = memberships.keyOf(id);
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const [{ value, version }, membership] = await Promise.all([volumes.require(id), memberships.get(id)]);
      const { volume, tombstones } = choose(value, membership?.value);
      if (tombstones.length === 0) return;
      const unchanged: Condition =
        membership === undefined ? { key, is: 'absent' } : { key, value: encodeValue(key, membership.value) };
      if ((await volumes.replace(volume, version, [unchanged], tombstones.map(buried))) !== undefined) return;
    }
    throw busy(id);
  }

  /** See ClusterState.deleteVolume. */
  remove(id: VolumeId, tombstones: readonly Tombstone[], expectedVersion: string | undefined): Promise<void> {
    return this.#turns.run(() => this.#remove(id, tombstones, expectedVersion));
  }

  async #create(
    volume: Volume,
    generation: Generation,
    admit: Admission,
    { absent, operations }: Company = { absent: [], operations: [] },
  ): Promise<Versioned<Volume>> {
    const { etcd, volumes } = this.#options;
    const namespaceKey = objectKey('namespaces', volume.namespace);
    const attachment: Attachment = { volume: volume.id, generation, mode: 'rw', updatedAt: volume.updatedAt };
    const attachmentKey = objectKey('attachments', volume.id);
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const sum = await this.#admitted(admit);
      try {
        return await volumes.create(
          volume,
          [
            { key: namespaceKey, is: 'present' },
            sum.unchanged,
            ...absent.map((key): Condition => ({ key, is: 'absent' })),
          ],
          [
            { put: attachmentKey, value: encodeValue(attachmentKey, attachment) },
            write(sum.bytes + volume.sizeBytes),
            ...operations,
          ],
        );
      } catch (error) {
        if (!(error instanceof DomainError && error.code === 'invalid-state')) throw error;
        if ((await etcd.get(namespaceKey)) === undefined) {
          throw new DomainError('not-found', `namespace ${volume.namespace} not found`, { cause: error });
        }
        for (const key of absent) {
          if ((await etcd.get(key)) !== undefined)
            throw new DomainError('conflict', `etcd has ${key}`, { cause: error });
        }
      }
    }
    throw busy(volume.id);
  }

  async #remove(id: VolumeId, tombstones: readonly Tombstone[], expectedVersion: string | undefined): Promise<void> {
    const { volumes } = this.#options;
    const others: Operation[] = [
      { remove: objectKey('attachments', id) },
      { remove: objectKey('memberships', id) },
      ...tombstones.map(buried),
    ];
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const sum = await this.#sum();
      const { value, version } = await volumes.require(id);
      if (expectedVersion !== undefined && version !== expectedVersion) throw staleWrite(`volume ${id}`);
      const left = Math.max(0, sum.bytes - value.sizeBytes);
      try {
        return await volumes.remove(id, version, [sum.unchanged], [...others, write(left)]);
      } catch (error) {
        const changed = error instanceof DomainError && (error.code === 'stale-write' || error.code === 'in-use');
        if (!changed) throw error;
      }
    }
    throw busy(id);
  }

  /** The sum, if `admit` lets another volume be made beside it. A refusal rests on the volumes themselves. */
  async #admitted(admit: Admission): Promise<Sum> {
    const sum = await this.#sum();
    try {
      admit(sum.bytes);
      return sum;
    } catch (refusal) {
      const counted = await this.#count();
      if (counted === sum.bytes) throw refusal;
      admit(counted);
      return { ...sum, bytes: counted };
    }
  }

  async #sum(): Promise<Sum> {
    const found = await this.#options.etcd.get(PROVISIONED_KEY);
    if (found === undefined) {
      return { bytes: await this.#count(), unchanged: { key: PROVISIONED_KEY, is: 'absent' } };
    }
    const { bytes } = decodeValue(found.key, found.value, sumSchema);
    return { bytes, unchanged: { key: PROVISIONED_KEY, revision: found.revision } };
  }

  async #count(): Promise<number> {
    const all = await this.#options.volumes.list();
    return all.reduce((sum, { value }) => sum + value.sizeBytes, 0);
  }
}

function graveOf({ deployment }: Pick<Placement, 'deployment'>): string {
  return objectKey('tombstones', deployment);
}

function buried(tombstone: Tombstone): Operation {
  const key = graveOf(tombstone);
  return { put: key, value: encodeValue(key, tombstone) };
}

function write(bytes: number): Operation {
  return { put: PROVISIONED_KEY, value: encodeValue(PROVISIONED_KEY, { bytes }) };
}

function busy(id: VolumeId): DomainError {
  return new DomainError('stale-write', `volume ${id}: too much is changed at a time; try again`);
}
