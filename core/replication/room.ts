/** Appends on a disk that is nearly full: room is made first, and others may take it before it is used. */

import { type DeploymentStore, DiskError } from '../ports.js';
import { type Batch, ENTRY_BYTES } from '../record.js';

/** Then the disk counts as full. */
const ATTEMPTS = 8;

export function isNoSpace(error: unknown): boolean {
  return error instanceof DiskError && error.code === 'no-space';
}

export function hasRoom(store: DeploymentStore, { entries, payload }: Batch): boolean {
  return store.hasRoom(entries.length / ENTRY_BYTES, payload.length);
}

export function makeRoom(store: DeploymentStore, { entries, payload }: Batch): Promise<void> {
  return store.makeRoom(entries.length / ENTRY_BYTES, payload.length);
}

/**
 * Runs `act`, which appends such a batch or a part of it, when there is room for it. Rejects with
 * DiskError('no-space') if there is none.
 */
export async function withRoom<T>(store: DeploymentStore, batch: Batch, act: () => T | Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    if (!hasRoom(store, batch)) await makeRoom(store, batch);
    try {
      return await act();
    } catch (error) {
      if (!isNoSpace(error) || attempt === ATTEMPTS) throw error;
    }
  }
}
