/** A volume's encoder and decoder on a workspace. */

import {
  type Batch,
  ENTRY_BYTES,
  MAX_BATCH_ENTRIES,
  MAX_BATCH_PAYLOAD_BYTES,
  MAX_BLOCK_BYTES,
  MIN_BLOCK_BYTES,
} from '../../core/record.js';
import { NativeAes } from './cipher.js';
import {
  type CipherEngine,
  CodecClosedError,
  CodecError,
  type CodecProblem,
  type SyncVolumeCodec,
  type VolumeOptions,
  XTS_KEY_BYTES,
} from './codec.js';
import { type KernelKey, volumeBytes, type Workspace } from './workspace.js';

/** Half of an XTS key. */
const AES_KEY_BYTES = XTS_KEY_BYTES / 2;

const DETAILS: Readonly<Record<CodecProblem, string>> = {
  checksum: 'the stored payload does not match its checksum',
  compressed: 'the stored payload is not a sound LZ4 stream',
  length: 'the stored payload has a length that no block has',
  invalid: 'the entries are malformed or not those that were asked for',
};

/** Checks `options` and opens the volume. Errors: as Codec.openVolume. */
export function openVolumeCodec(workspace: Workspace, engine: CipherEngine, options: VolumeOptions): SyncVolumeCodec {
  const { blockSize, key } = options;
  if (blockSize < MIN_BLOCK_BYTES || blockSize > MAX_BLOCK_BYTES || (blockSize & (blockSize - 1)) !== 0) {
    throw new RangeError(`block size ${blockSize}: not a power of two from ${MIN_BLOCK_BYTES} to ${MAX_BLOCK_BYTES}`);
  }
  if (key === undefined) return new PlainVolumeCodec(workspace, engine, options, 0);
  if (key.length !== XTS_KEY_BYTES) throw new RangeError(`key of ${key.length} bytes, not ${XTS_KEY_BYTES}`);
  const expanded = workspace.expand(key);
  if (engine === 'wasm') return new KernelVolumeCodec(workspace, options, expanded);
  return new NativeVolumeCodec(workspace, options, expanded, new NativeAes(key.subarray(0, AES_KEY_BYTES)));
}

abstract class BaseVolumeCodec implements SyncVolumeCodec {
  readonly engine: CipherEngine;
  protected readonly workspace: Workspace;
  protected readonly options: number;
  readonly #volume: Uint8Array;
  readonly #blockSize: number;
  #open = true;

  constructor(
    workspace: Workspace,
    engine: CipherEngine,
    { volume, blockSize, compress }: VolumeOptions,
    flags: number,
  ) {
    this.workspace = workspace;
    this.engine = engine;
    this.options = flags | (compress ? workspace.kernels.at.COMPRESS : 0);
    this.#volume = volumeBytes(volume);
    this.#blockSize = blockSize;
  }

  encode(plain: Uint8Array, firstBlock: number): Batch {
    const count = this.#begin(plain, firstBlock);
    const { call, at, bytes, view } = this.workspace.kernels;
    bytes.set(plain, at.PLAIN);
    const high = Math.floor(firstBlock / 2 ** 32);
    const { PLAIN, ENTRIES, STORED } = at;
    const entries = call.encode(PLAIN, ENTRIES, STORED, firstBlock, high, count, this.#blockSize, this.options);
    const tableBytes = entries * ENTRY_BYTES;
    const storedBytes = view.getUint32(at.RESULT, true);
    this.encryptStored(entries);
    const [table, payload] = this.workspace.slab.take(tableBytes, storedBytes);
    table.set(bytes.subarray(ENTRIES, ENTRIES + tableBytes));
    payload.set(bytes.subarray(STORED, STORED + storedBytes));
    return { entries: table, payload };
  }

  decode(batch: Batch, firstBlock: number, into: Uint8Array): void {
    const count = this.#begin(into, firstBlock);
    const { entries, payload } = batch;
    const entryCount = entries.length / ENTRY_BYTES;
    if (!Number.isInteger(entryCount) || entryCount > MAX_BATCH_ENTRIES || payload.length > MAX_BATCH_PAYLOAD_BYTES) {
      throw new CodecError('invalid', firstBlock, DETAILS.invalid);
    }
    const { call, at, bytes } = this.workspace.kernels;
    const { ENTRIES, STORED, PLAIN } = at;
    const blockSize = this.#blockSize;
    bytes.set(entries, ENTRIES);
    bytes.set(payload, STORED);
    const high = Math.floor(firstBlock / 2 ** 32);
    this.#require(
      call.check(ENTRIES, entryCount, STORED, payload.length, firstBlock, high, count, blockSize, this.options),
    );
    this.decryptStored(entryCount);
    this.#require(call.decode(ENTRIES, entryCount, STORED, PLAIN, blockSize, this.options));
    into.set(bytes.subarray(PLAIN, PLAIN + into.length));
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.forgetKey();
  }

  /** Makes the workspace this volume's. */
  protected abstract use(volume: Uint8Array): void;
  protected abstract forgetKey(): void;
  /** For an engine outside the kernels: encrypts the payloads in place and seals the entries. */
  protected encryptStored(_entries: number): void {}
  protected decryptStored(_entries: number): void {}

  /** Returns the number of blocks. */
  #begin(plain: Uint8Array, firstBlock: number): number {
    if (!this.#open) throw new CodecClosedError();
    const count = plain.length / this.#blockSize;
    if (!Number.isInteger(count) || count < 1 || plain.length > MAX_BATCH_PAYLOAD_BYTES) {
      throw new RangeError(`${plain.length} bytes are not 1 or more blocks of ${this.#blockSize}, 1 MiB at most`);
    }
    if (!Number.isSafeInteger(firstBlock) || firstBlock < 0 || !Number.isSafeInteger(firstBlock + count)) {
      throw new RangeError(`block number ${firstBlock}`);
    }
    this.use(this.#volume);
    return count;
  }

  #require(outcome: number): void {
    const { at, view } = this.workspace.kernels;
    if (outcome === at.GOOD) return;
    const block = view.getUint32(at.RESULT, true) + view.getUint32(at.RESULT + 4, true) * 2 ** 32;
    let kind: CodecProblem = 'invalid';
    if (outcome === at.BAD_CHECKSUM) kind = 'checksum';
    else if (outcome === at.BAD_COMPRESSED) kind = 'compressed';
    else if (outcome === at.BAD_LENGTH) kind = 'length';
    throw new CodecError(kind, block, DETAILS[kind]);
  }
}

/** A volume without encryption. */
class PlainVolumeCodec extends BaseVolumeCodec {
  protected override use(volume: Uint8Array): void {
    this.workspace.use(volume);
  }

  protected override forgetKey(): void {
    this.workspace.forget(undefined);
  }
}

/** AES in the kernels. */
class KernelVolumeCodec extends BaseVolumeCodec {
  readonly #key: KernelKey;

  constructor(workspace: Workspace, options: VolumeOptions, key: KernelKey) {
    super(workspace, 'wasm', options, workspace.kernels.at.ENCRYPTED);
    this.#key = key;
  }

  protected override use(volume: Uint8Array): void {
    this.workspace.use(volume, this.#key);
  }

  protected override forgetKey(): void {
    this.workspace.forget(this.#key);
  }
}

/** AES of whole blocks in node:crypto, everything else in the kernels. */
class NativeVolumeCodec extends BaseVolumeCodec {
  readonly #key: KernelKey;
  readonly #aes: NativeAes;

  constructor(workspace: Workspace, options: VolumeOptions, key: KernelKey, aes: NativeAes) {
    super(workspace, 'native', options, workspace.kernels.at.ENCRYPTED | workspace.kernels.at.CIPHER_OUTSIDE);
    this.#key = key;
    this.#aes = aes;
  }

  protected override use(volume: Uint8Array): void {
    this.workspace.use(volume, this.#key);
  }

  protected override forgetKey(): void {
    this.#aes.close();
    this.workspace.forget(this.#key);
  }

  protected override encryptStored(entries: number): void {
    this.#transform(entries, false);
    const { call, at } = this.workspace.kernels;
    call.seal(at.ENTRIES, entries, at.STORED);
  }

  protected override decryptStored(entries: number): void {
    this.#transform(entries, true);
  }

  /** In place. The region of the plain text holds the blocks between: it is read before, or written after. */
  #transform(entries: number, decrypting: boolean): void {
    const { call, at, bytes } = this.workspace.kernels;
    const length = call.stage(at.ENTRIES, entries, at.STORED, at.PLAIN, Number(decrypting));
    if (length === 0) return;
    this.#aes.transform(bytes.subarray(at.PLAIN, at.PLAIN + length), decrypting);
    call.unstage(at.ENTRIES, entries, at.STORED, at.PLAIN, Number(decrypting));
  }
}
