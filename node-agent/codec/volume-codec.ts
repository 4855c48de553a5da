/** A volume's encoder and decoder on a workspace. */

import {
  type Batch,
  ENTRY_BYTES,
  FLAG_LZ4,
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
import { type KernelKey, refuseOverlap, SHORTEST_REGION, volumeBytes, type Workspace } from './workspace.js';

/** Of an entry's flags in it. */
const FLAGS_AT = 13;
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
  if (
    !Number.isInteger(blockSize) ||
    blockSize < MIN_BLOCK_BYTES ||
    blockSize > MAX_BLOCK_BYTES ||
    (blockSize & (blockSize - 1)) !== 0
  ) {
    throw new RangeError(`block size ${blockSize}: not a power of two from ${MIN_BLOCK_BYTES} to ${MAX_BLOCK_BYTES}`);
  }
  if (key === undefined) return new PlainVolumeCodec(workspace, engine, options, 0);
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
    const { kernels, slab } = this.workspace;
    const { call, at, bytes, view } = kernels;
    let from = this.workspace.reach(plain);
    if (from === undefined) {
      from = at.PLAIN;
      bytes.set(plain, from);
    }
    // Room for all blocks as they are; what compression saves is given back.
    const room = this.workspace.take(plain.length, 'stored');
    const stored = room?.bytes.byteOffset ?? at.STORED;
    const high = Math.floor(firstBlock / 2 ** 32);
    let entries: number;
    let storedBytes: number;
    try {
      entries = call.encode(from, at.ENTRIES, stored, firstBlock, high, count, this.#blockSize, this.options);
      storedBytes = view.getUint32(at.RESULT, true);
      this.encryptStored(entries, stored);
    } catch (error) {
      // What was not encrypted any more is plain text.
      if (room !== undefined) this.workspace.arena.markPlain(room.bytes);
      room?.release();
      throw error;
    }
    const tableBytes = entries * ENTRY_BYTES;
    const source = bytes.subarray(at.ENTRIES, at.ENTRIES + tableBytes);
    // A region of its own keeps at least a page: what has become short is moved.
    const stays = storedBytes >= SHORTEST_REGION || plain.length < SHORTEST_REGION;
    if (room !== undefined && stays) {
      const table = slab.take(tableBytes);
      table.set(source);
      return { entries: table, payload: room.shrink(storedBytes), lease: room.lease };
    }
    const [table, payload] = slab.takeTwo(tableBytes, storedBytes);
    table.set(source);
    payload.set(bytes.subarray(stored, stored + storedBytes));
    room?.release();
    return { entries: table, payload };
  }

  decode(batch: Batch, firstBlock: number, into: Uint8Array): void {
    const count = this.#begin(into, firstBlock);
    const { entries, payload } = batch;
    const entryCount = entries.length / ENTRY_BYTES;
    if (!Number.isInteger(entryCount) || entryCount > MAX_BATCH_ENTRIES || payload.length > MAX_BATCH_PAYLOAD_BYTES) {
      throw new CodecError('invalid', firstBlock, DETAILS.invalid);
    }
    refuseOverlap(payload, into);
    refuseOverlap(entries, into);
    const { call, at, bytes } = this.workspace.kernels;
    const { ENTRIES, PLAIN } = at;
    const blockSize = this.#blockSize;
    const target = this.workspace.reach(into);
    let stored = this.#storedAt(batch);
    bytes.set(entries, ENTRIES);
    if (stored === undefined) {
      stored = at.STORED;
      bytes.set(payload, stored);
    }
    const high = Math.floor(firstBlock / 2 ** 32);
    this.#require(
      call.check(ENTRIES, entryCount, stored, payload.length, firstBlock, high, count, blockSize, this.options),
    );
    this.decryptStored(entryCount, stored);
    this.#require(call.decode(ENTRIES, entryCount, stored, target ?? PLAIN, blockSize, this.options));
    if (target === undefined) into.set(bytes.subarray(PLAIN, PLAIN + into.length));
  }

  decodeInPlace(batch: Batch, firstBlock: number, length: number): Buffer | undefined {
    const { entries, payload } = batch;
    const entryCount = length / this.#blockSize;
    if (payload.length !== length || entries.length !== entryCount * ENTRY_BYTES || isCompressed(entries)) {
      return undefined;
    }
    const count = this.#begin(payload, firstBlock);
    const stored = this.#storedAt(batch);
    if (stored === undefined) return undefined;
    const { call, at, bytes } = this.workspace.kernels;
    const { options } = this;
    bytes.set(entries, at.ENTRIES);
    const high = Math.floor(firstBlock / 2 ** 32);
    this.#require(
      call.check(at.ENTRIES, entryCount, stored, length, firstBlock, high, count, this.#blockSize, options),
    );
    this.decryptStored(entryCount, stored);
    // Moves nothing: every block is where it was.
    if (options & at.ENCRYPTED) {
      this.#require(call.decode(at.ENTRIES, entryCount, stored, stored, this.#blockSize, options));
    }
    return payload;
  }

  /** Where the kernels may work on the payload; undefined: only on a copy, because they can't reach it or others hold it. */
  #storedAt({ payload, lease }: Batch): number | undefined {
    const at = this.workspace.reach(payload);
    if (at === undefined || (this.options & this.workspace.kernels.at.ENCRYPTED) === 0) return at;
    if (lease?.exclusive !== true) return undefined;
    this.workspace.arena.markPlain(payload);
    return at;
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
  protected encryptStored(_entries: number, _stored: number): void {}
  protected decryptStored(_entries: number, _stored: number): void {}

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

/** Whether an entry of the table says so. */
function isCompressed(entries: Buffer): boolean {
  for (let at = 0; at < entries.length; at += ENTRY_BYTES) {
    if ((entries[at + FLAGS_AT]! & FLAG_LZ4) !== 0) return true;
  }
  return false;
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

  protected override encryptStored(entries: number, stored: number): void {
    this.#transform(entries, stored, false);
    const { call, at } = this.workspace.kernels;
    call.seal(at.ENTRIES, entries, stored);
  }

  protected override decryptStored(entries: number, stored: number): void {
    this.#transform(entries, stored, true);
  }

  /** In place. The region of the plain text holds the blocks between: it is read before, or written after. */
  #transform(entries: number, stored: number, decrypting: boolean): void {
    const { call, at, bytes } = this.workspace.kernels;
    const length = call.stage(at.ENTRIES, entries, stored, at.PLAIN, Number(decrypting));
    if (length === 0) return;
    this.#aes.transform(bytes.subarray(at.PLAIN, at.PLAIN + length), decrypting);
    call.unstage(at.ENTRIES, entries, stored, at.PLAIN, Number(decrypting));
  }
}
