/**
 * AES-256 through node:crypto, which uses the CPU's AES instructions where there are any.
 *
 * ECB, not XTS: the kernels do what XTS adds, so that one call serves all data units of a request and one cipher
 * object all requests of a volume. Node's XTS needs a new object for every data unit, which takes longer than
 * encrypting it (docs/internals/codec.md has figures).
 */

import { type Cipher, createCipheriv, createDecipheriv, type Decipher } from 'node:crypto';

const ALGORITHM = 'aes-256-ecb';
const KEY_BYTES = 32;
const BLOCK_BYTES = 16;
/** One call's share: what node:crypto returns is newly allocated, and beyond this the allocator asks the kernel. */
const CHUNK_BYTES = 64 * 1024;

export class NativeAes {
  readonly #cipher: Cipher;
  readonly #decipher: Decipher;

  /** `key` is not kept, OpenSSL holds the expanded key. RangeError unless it has 32 bytes. */
  constructor(key: Uint8Array) {
    if (key.length !== KEY_BYTES) throw new RangeError(`key of ${key.length} bytes, not ${KEY_BYTES}`);
    this.#cipher = createCipheriv(ALGORITHM, key, null).setAutoPadding(false);
    this.#decipher = createDecipheriv(ALGORITHM, key, null).setAutoPadding(false);
  }

  /** Encrypts or decrypts whole AES blocks in place. RangeError, before any is, if there is part of one. */
  transform(blocks: Uint8Array, decrypting: boolean): void {
    if (blocks.length % BLOCK_BYTES !== 0) throw new RangeError(`${blocks.length} bytes are not whole AES blocks`);
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
