/**
 * AES-256 through node:crypto, which uses the CPU's AES instructions where there are any.
 *
 * ECB, not XTS: the kernels do what XTS adds, so that one call serves all data units of a request and one cipher
 * object all requests of a volume. Node's XTS needs a new object for every data unit, which takes longer than
 * encrypting it (docs/internals/codec.md has figures).
 */

import { type Cipher, createCipheriv, createDecipheriv, type Decipher } from 'node:crypto';

const ALGORITHM = 'aes-256-ecb';
/** One call's share: what node:crypto returns is newly allocated, and beyond this the allocator asks the kernel. */
const CHUNK_BYTES = 64 * 1024;

export class NativeAes {
  readonly #cipher: Cipher;
  readonly #decipher: Decipher;

  /** `key` has 32 bytes; it is not kept, OpenSSL holds the expanded key. */
  constructor(key: Uint8Array) {
    this.#cipher = createCipheriv(ALGORITHM, key, null).setAutoPadding(false);
    this.#decipher = createDecipheriv(ALGORITHM, key, null).setAutoPadding(false);
  }

  /** Encrypts or decrypts whole AES blocks in place. */
  transform(blocks: Uint8Array, decrypting: boolean): void {
    const cipher = decrypting ? this.#decipher : this.#cipher;
    for (let at = 0; at < blocks.length; at += CHUNK_BYTES) {
      blocks.set(cipher.update(blocks.subarray(at, at + CHUNK_BYTES)), at);
    }
  }

  /** Frees the ciphers, upon which OpenSSL zeroes their keys. Nothing may follow. */
  close(): void {
    this.#cipher.final();
    this.#decipher.final();
  }
}
