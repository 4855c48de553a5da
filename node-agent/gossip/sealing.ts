/**
 * Datagrams that only holders of the cluster key can make or read: AES-256-GCM.
 *
 * | offset | bytes | |
 * |---|---|---|
 * | 0 | 1 | version, 1 |
 * | 1 | 16 | salt: random, new with every start of the sender |
 * | 17 | 8 | counter of the sender's datagrams, little-endian |
 * | 25 | n | ciphertext |
 * | 25 + n | 16 | tag, which covers the first 25 bytes too |
 *
 * Key = HKDF-SHA-256(gossip key, salt), nonce = four zero bytes and the counter: no nonce is used twice under one
 * key, however long a cluster lives. A repeated datagram is accepted; gossip is made for that (old incarnations
 * and numbers of finished probes are ignored).
 */

import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';

const VERSION = 1;
const SALT_BYTES = 16;
const HEADER_BYTES = 1 + SALT_BYTES + 8;
const TAG_BYTES = 16;
/** Longer datagrams are not looked at. */
export const MAX_DATAGRAM_BYTES = 4096;
/** Keys of senders that are remembered. */
const MAX_SENDERS = 1024;

export class Sealer {
  readonly #clusterKey: Uint8Array;
  readonly #salt = randomBytes(SALT_BYTES);
  readonly #key: Buffer;
  readonly #senders = new Map<string, Buffer>();
  #counter = 0n;

  /** `key`: 32 bytes that all nodes of the cluster, and nobody else, have. */
  constructor(key: Uint8Array) {
    this.#clusterKey = key;
    this.#key = this.#derive(this.#salt);
  }

  seal(plain: Uint8Array): Buffer {
    this.#counter += 1n;
    const header = Buffer.alloc(HEADER_BYTES);
    header.writeUInt8(VERSION, 0);
    this.#salt.copy(header, 1);
    header.writeBigUInt64LE(this.#counter, 1 + SALT_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce(header)).setAAD(header);
    return Buffer.concat([header, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
  }

  /** Undefined for what is not a datagram of this cluster. */
  open(datagram: Buffer): Buffer | undefined {
    if (datagram.length < HEADER_BYTES + TAG_BYTES || datagram.length > MAX_DATAGRAM_BYTES) return undefined;
    if (datagram.readUInt8(0) !== VERSION) return undefined;
    const header = datagram.subarray(0, HEADER_BYTES);
    const sender = header.toString('latin1', 1, 1 + SALT_BYTES);
    const known = this.#senders.get(sender);
    const key = known ?? this.#derive(header.subarray(1, 1 + SALT_BYTES));
    const decipher = createDecipheriv('aes-256-gcm', key, nonce(header), { authTagLength: TAG_BYTES }).setAAD(header);
    decipher.setAuthTag(datagram.subarray(-TAG_BYTES));
    const plain = decipher.update(datagram.subarray(HEADER_BYTES, -TAG_BYTES));
    try {
      decipher.final();
    } catch {
      return undefined;
    }
    if (known === undefined) {
      if (this.#senders.size >= MAX_SENDERS) this.#senders.clear();
      this.#senders.set(sender, key);
    }
    return plain;
  }

  #derive(salt: Uint8Array): Buffer {
    return Buffer.from(hkdfSync('sha256', this.#clusterKey, salt, 'storageos gossip datagrams', 32));
  }
}

function nonce(header: Buffer): Buffer {
  return Buffer.concat([Buffer.alloc(4), header.subarray(1 + SALT_BYTES)]);
}
