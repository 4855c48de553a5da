/** AES-256-XTS through node:crypto, which uses the CPU's AES instructions where there are any. */

import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject } from 'node:crypto';

const ALGORITHM = 'aes-256-xts';
const TWEAK_BYTES = 16;

/**
 * Encrypts and decrypts data units of 16 bytes and more, numbered as IEEE 1619 says (little-endian). The key is
 * held by OpenSSL, which zeroes it when the object is collected.
 */
export class NativeXts {
  #key: KeyObject | undefined;
  readonly #tweak = Buffer.alloc(TWEAK_BYTES);

  constructor(key: Uint8Array) {
    this.#key = createSecretKey(key);
  }

  encrypt(unit: number, plain: Uint8Array): Uint8Array {
    return createCipheriv(ALGORITHM, this.#secret(), this.#tweakOf(unit)).update(plain);
  }

  decrypt(unit: number, stored: Uint8Array): Uint8Array {
    return createDecipheriv(ALGORITHM, this.#secret(), this.#tweakOf(unit)).update(stored);
  }

  close(): void {
    this.#key = undefined;
  }

  #secret(): KeyObject {
    if (this.#key === undefined) throw new Error('the cipher is closed');
    return this.#key;
  }

  #tweakOf(unit: number): Buffer {
    this.#tweak.writeUInt32LE(unit % 2 ** 32, 0);
    this.#tweak.writeUInt32LE(Math.floor(unit / 2 ** 32), 4);
    return this.#tweak;
  }
}
