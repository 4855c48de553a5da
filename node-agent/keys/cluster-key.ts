import { hkdfSync, randomBytes } from 'node:crypto';
import { open } from 'node:fs/promises';
import { createFileDurably } from '../durable-file.js';
import { KeyError } from './errors.js';
import { CLUSTER_KEY_BYTES } from './wrap.js';

/** Others than the owner may neither read nor write. */
const FOREIGN_BITS = 0o077;

/**
 * The secret that all nodes of a cluster share: volume keys are wrapped with it; gossip's and the API's keys are
 * derived from it.
 * Errors: KeyError('missing' | 'malformed' | 'exposed').
 */
export async function loadClusterKey(path: string): Promise<Buffer> {
  let file: Awaited<ReturnType<typeof open>>;
  try {
    file = await open(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw new KeyError('missing', path, 'no cluster key here');
    throw error;
  }
  try {
    const { mode, size } = await file.stat();
    if ((mode & FOREIGN_BITS) !== 0) {
      throw new KeyError('exposed', path, 'others can read the cluster key; make its mode 0600');
    }
    if (size !== CLUSTER_KEY_BYTES) {
      throw new KeyError('malformed', path, `a cluster key has ${CLUSTER_KEY_BYTES} bytes, this file has ${size}`);
    }
    return await file.readFile();
  } finally {
    await file.close();
  }
}

/** Loads the cluster key, made at the first call. Errors: KeyError; those of the file system. */
export async function ensureClusterKey(path: string): Promise<Buffer> {
  try {
    return await loadClusterKey(path);
  } catch (error) {
    if (!(error instanceof KeyError) || error.kind !== 'missing') throw error;
  }
  // Never over an existing file: what was wrapped with it would be lost.
  await createFileDurably(path, randomBytes(CLUSTER_KEY_BYTES), 0o600);
  return loadClusterKey(path);
}

/** A 32-byte key for one purpose. HKDF-SHA-256, `purpose` as info. */
export function deriveKey(clusterKey: Uint8Array, purpose: string): Buffer {
  return Buffer.from(hkdfSync('sha256', clusterKey, '', `storageos ${purpose}`, 32));
}
