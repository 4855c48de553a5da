/** From a request to a volume that is provisioned, or to nothing left behind. */

import { z } from 'zod';
import { DEFAULT_BLOCK_SIZE, MIN_VOLUME_BYTES, type Volume } from '../../core/domain.js';
import { DomainError } from '../../core/errors.js';
import type { NamespaceId, VolumeId } from '../../core/types.js';
import { MAX_DESCRIPTION_CHARS, OBJECT_NAME } from '../state/schemas.js';
import { labelsField, volumeSettings } from './labels.js';
import type { ApiDependencies } from './ports.js';
import { optional, wholeNumber } from './request.js';
import { placementStrategy, strategySchema } from './schemas/strategy.js';
import { fsType } from './schemas/volume.js';

/** Bytes of a volume at the most: 64 TiB. */
export const MAX_VOLUME_BYTES = 2 ** 46;
/** Time for removing a volume that could not be provisioned, ms. */
const CLEAN_UP_WAIT_MS = 30_000;

export const nameField = z.string().regex(OBJECT_NAME, 'must be 1–253 characters of a-z, 0-9, "." and "-"');

export const volumeCreation = z.object({
  name: nameField,
  namespaceID: optional(z.string()),
  sizeBytes: wholeNumber.min(MIN_VOLUME_BYTES).max(MAX_VOLUME_BYTES),
  fsType,
  description: optional(z.string().max(MAX_DESCRIPTION_CHARS)),
  labels: labelsField,
  placementStrategy: optional(strategySchema),
});

/** The record of a volume that is to be made. Sizes are rounded up to whole blocks. Errors: 'invalid', 'conflict'. */
export function newVolume(
  body: z.output<typeof volumeCreation>,
  namespace: NamespaceId,
  id: VolumeId,
  now: string,
): Volume {
  if (body.namespaceID !== undefined && body.namespaceID !== '' && body.namespaceID !== namespace) {
    throw new DomainError('invalid', 'namespaceID is not the namespace of the path');
  }
  const labels = body.labels ?? {};
  return {
    id,
    namespace,
    name: body.name,
    description: body.description ?? '',
    labels,
    sizeBytes: Math.ceil(body.sizeBytes / DEFAULT_BLOCK_SIZE) * DEFAULT_BLOCK_SIZE,
    blockSize: DEFAULT_BLOCK_SIZE,
    fsType: body.fsType,
    ...volumeSettings(labels),
    ...(body.placementStrategy !== undefined && { placementStrategy: placementStrategy(body.placementStrategy) }),
    durability: 'writeback',
    phase: 'provisioning',
    placements: [],
    createdAt: now,
    updatedAt: now,
  };
}

/**
 * Waits for a recorded volume to be provisioned. If that fails for one who waits, the record is removed again,
 * so that the name is free for the next attempt; else its workflow tries again, as also where this node ends meanwhile.
 */
export async function provision(
  { state, controller, logger }: ApiDependencies,
  id: VolumeId,
  options: { readonly waitMs: number; readonly removeFailed: boolean },
): Promise<void> {
  try {
    await controller.provision(id, { waitMs: options.waitMs });
  } catch (error) {
    const unheard = error instanceof DomainError && error.code === 'controller-unavailable';
    let gone = false;
    if (unheard || options.removeFailed) {
      gone = await removeUnprovisioned().catch((failure) => {
        logger.warn({ volume: id, err: failure }, 'a volume that could not be provisioned is left behind');
        return false;
      });
    }
    if (unheard && gone) {
      const message = 'Temporal does not answer: the volume was not made; try again';
      throw new DomainError('controller-unavailable', message, { cause: error });
    }
    throw error;
  }

  /** Whether nothing is left of it. */
  async function removeUnprovisioned(): Promise<boolean> {
    const current = await state.volumes.get(id);
    if (current === undefined) return true;
    const { phase, placements } = current.value;
    if (phase === 'failed') {
      await controller.remove(id, { offline: false, waitMs: CLEAN_UP_WAIT_MS });
      return true;
    }
    if (phase !== 'provisioning' || placements.length > 0) return false;
    await state.deleteVolume(id, [], current.version);
    return true;
  }
}
