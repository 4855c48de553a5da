/** The keys with which licences are signed and checked: Ed25519, in PEM files. */

import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { open, readFile } from 'node:fs/promises';
import { DomainError } from '../../core/errors.js';
import { createFileDurably, writeFileDurably } from '../durable-file.js';

/** Keys in one file at the most: the one in use, and those before it whose licences are still valid. */
const MAX_PUBLIC_KEYS = 16;
const MAX_FILE_BYTES = 64 << 10;
/** Others than the owner may neither read nor write. */
const FOREIGN_BITS = 0o077;

const PUBLIC_KEY = /-----BEGIN PUBLIC KEY-----[\s\S]*?-----END PUBLIC KEY-----/g;

/** One or more public keys, one after the other. Errors: DomainError('invalid') that names the file. */
export async function loadPublicKeys(path: string): Promise<readonly KeyObject[]> {
  const blocks = (await read(path)).match(PUBLIC_KEY) ?? [];
  if (blocks.length === 0 || blocks.length > MAX_PUBLIC_KEYS) {
    throw unusable(path, `${blocks.length} public keys in it; 1 to ${MAX_PUBLIC_KEYS} are needed`);
  }
  return blocks.map((block) => ed25519(path, () => createPublicKey(block)));
}

/** Errors: DomainError('invalid') that names the file; also if others than its owner can read it. */
export async function loadPrivateKey(path: string): Promise<KeyObject> {
  const pem = await read(path, FOREIGN_BITS);
  return ed25519(path, () => createPrivateKey(pem));
}

/**
 * Makes a private key that its owner alone can read, never over an existing file. Returns whether it was made: not if
 * there is one.
 */
export function createSigningKey(path: string): Promise<boolean> {
  const { privateKey } = generateKeyPairSync('ed25519');
  return createFileDurably(path, privateKey.export({ type: 'pkcs8', format: 'pem' }), 0o600);
}

/** Writes the public half of a private key. */
export function writePublicKey(privateKey: KeyObject, path: string): Promise<void> {
  return writeFileDurably(path, createPublicKey(privateKey).export({ type: 'spki', format: 'pem' }));
}

async function read(path: string, forbiddenBits = 0): Promise<string> {
  try {
    const file = await open(path, 'r');
    try {
      const { mode, size } = await file.stat();
      if ((mode & forbiddenBits) !== 0) throw unusable(path, 'others can read it; make its mode 0600');
      if (size > MAX_FILE_BYTES) throw unusable(path, 'too large for a key');
      return await readFile(file, 'utf8');
    } finally {
      await file.close();
    }
  } catch (error) {
    if (error instanceof DomainError) throw error;
    throw unusable(path, `cannot be read: ${(error as NodeJS.ErrnoException).code}`);
  }
}

function ed25519(path: string, make: () => KeyObject): KeyObject {
  let key: KeyObject;
  try {
    key = make();
  } catch {
    // What the library says may quote the key.
    throw unusable(path, 'not a key in PEM form');
  }
  if (key.asymmetricKeyType !== 'ed25519') throw unusable(path, `a key of type ${key.asymmetricKeyType}, not Ed25519`);
  return key;
}

function unusable(path: string, why: string): DomainError {
  return new DomainError('invalid', `licence key ${path}: ${why}`);
}
