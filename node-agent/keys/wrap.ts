/**
 * Wrapping of a volume's master key (VMK, 64 bytes) by the cluster key, in the form of the original's Kubernetes
 * secrets: IK = HKDF-SHA-256(cluster key, salt = iv, no info), 32 bytes; vuk = a random IV of 16 bytes followed by
 * AES-256-CBC(VMK, IK) without padding; hmac = HMAC-SHA-256(VMK) keyed by iv.
 */

import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto';

/** AES-256-XTS takes two keys of 32 bytes. */
export const VOLUME_KEY_BYTES = 64;
export const CLUSTER_KEY_BYTES = 32;
export const IV_BYTES = 32;
const CBC_IV_BYTES = 16;
export const WRAPPED_KEY_BYTES = CBC_IV_BYTES + VOLUME_KEY_BYTES;
export const HMAC_BYTES = 32;

/** Key material in memory; `erase` it when it is not needed any more. */
export class VolumeKey {
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  erase(): void {
    this.bytes.fill(0);
  }
}

export interface WrappedKey {
  readonly iv: Buffer;
  readonly vuk: Buffer;
  readonly hmac: Buffer;
}

/** A key from the system's CSPRNG whose halves differ, as IEEE 1619 requires of XTS. */
export function generateVolumeKey(): VolumeKey {
  for (;;) {
    const bytes = randomBytes(VOLUME_KEY_BYTES);
    if (halvesDiffer(bytes)) return new VolumeKey(bytes);
  }
}

export function halvesDiffer(bytes: Uint8Array): boolean {
  const half = VOLUME_KEY_BYTES / 2;
  return !timingSafeEqual(bytes.subarray(0, half), bytes.subarray(half));
}

export function wrapKey(key: VolumeKey, clusterKey: Uint8Array): WrappedKey {
  const iv = randomBytes(IV_BYTES);
  const cbcIv = randomBytes(CBC_IV_BYTES);
  const intermediate = intermediateKey(clusterKey, iv);
  const cipher = createCipheriv('aes-256-cbc', intermediate, cbcIv).setAutoPadding(false);
  const vuk = Buffer.concat([cbcIv, cipher.update(key.bytes), cipher.final()]);
  intermediate.fill(0);
  return { iv, vuk, hmac: authenticate(key.bytes, iv) };
}

/** Undefined if the cluster key is not the one that it was wrapped with, or a part was changed. */
export function unwrapKey(wrapped: WrappedKey, clusterKey: Uint8Array): VolumeKey | undefined {
  const intermediate = intermediateKey(clusterKey, wrapped.iv);
  const decipher = createDecipheriv('aes-256-cbc', intermediate, wrapped.vuk.subarray(0, CBC_IV_BYTES));
  decipher.setAutoPadding(false);
  const first = decipher.update(wrapped.vuk.subarray(CBC_IV_BYTES));
  const key = new VolumeKey(Buffer.concat([first, decipher.final()]));
  first.fill(0);
  intermediate.fill(0);
  if (timingSafeEqual(authenticate(key.bytes, wrapped.iv), wrapped.hmac) && halvesDiffer(key.bytes)) return key;
  key.erase();
  return undefined;
}

function intermediateKey(clusterKey: Uint8Array, iv: Uint8Array): Buffer {
  return Buffer.from(hkdfSync('sha256', clusterKey, iv, '', 32));
}

function authenticate(key: Uint8Array, iv: Uint8Array): Buffer {
  return createHmac('sha256', iv).update(key).digest();
}
