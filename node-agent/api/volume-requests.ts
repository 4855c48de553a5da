/** What the endpoints of a volume share. */

import type { Namespace, Volume } from '../../core/domain.js';
import { DomainError } from '../../core/errors.js';
import type { NamespaceId, VolumeId } from '../../core/types.js';
import { staleWrite, type Versioned } from '../state/cluster-state.js';
import type { ApiServices } from './context.js';
import { id } from './request.js';
import { volumeSchema } from './schemas/volume.js';

export const COLLECTION = '/namespaces/{namespaceID}/volumes';
export const ITEM = `${COLLECTION}/{id}` as const;

export const collectionParams = { namespaceID: id<NamespaceId>('Id of the namespace.') };
export const itemParams = { ...collectionParams, id: id<VolumeId>('Id of the volume.') };

export const READ = { resource: 'volume', action: 'read', namespaced: true } as const;
export const WRITE = { resource: 'volume', action: 'write', namespaced: true } as const;

export const volumeResponse = { description: 'The volume.', body: volumeSchema };

export interface VolumeCall {
  readonly namespace: Versioned<Namespace>;
  readonly params: { readonly id: VolumeId };
}

/** The volume of the path. Errors: 'not-found'. */
export async function volumeOf({ namespace, params }: VolumeCall, services: ApiServices): Promise<Versioned<Volume>> {
  const found = await services.dependencies.state.volumes.getOrLastSeen(params.id);
  if (found?.value.namespace !== namespace.value.id) {
    throw new DomainError('not-found', `volume ${params.id} not found`);
  }
  return found;
}

/** For operations that the workflow carries out, whose outcome is no change of the record. Errors: 'stale-write'. */
export function checkVersion(volume: Versioned<Volume>, expected: string | undefined): void {
  if (expected !== undefined && expected !== volume.version) {
    throw staleWrite(`volume ${volume.value.id}`);
  }
}

/** Errors: 'invalid-state'. */
export function requireReady(volume: Volume): void {
  if (volume.phase !== 'ready') {
    throw new DomainError('invalid-state', `volume "${volume.name}" is in state "${volume.phase}"`);
  }
}

/** The record says already what is wanted; the workflow looks at it in any case, at the latest by itself. */
export async function tellController({ dependencies }: ApiServices, id: VolumeId): Promise<void> {
  const { controller, logger } = dependencies;
  await controller.changed(id).catch((error) => {
    logger.warn({ volume: id, err: error }, 'the workflow of a changed volume could not be told');
  });
}

/** The volume as it is now. */
export async function answerVolume({ dependencies, views }: ApiServices, id: VolumeId) {
  return { status: 200, body: await views.one(id, dependencies.state.volumes.require(id)) } as const;
}
