/**
 * What a deployment knows of itself, in three checksummed copies (`super.0` to `super.2`). An update makes the
 * first copy durable before it touches the others, so that at every moment at least one is whole; the one with
 * the highest number counts. Damage to one copy therefore never brings back an older state.
 *
 * Copy, little-endian: u32 magic "SOSS", u32 CRC-32 of everything behind it, u16 format version, u16 0,
 * u32 length of the body, u64 number of the update; the body, JSON; zeroes up to a multiple of 4 KiB.
 */

import { crc32 } from 'node:zlib';
import { z } from 'zod';
import { type DeploymentState, type Disk, DiskError } from '../../core/ports.js';
import {
  type BlockNumber,
  type DeploymentId,
  type Epoch,
  isUuid,
  type Sequence,
  type VolumeId,
} from '../../core/types.js';
import { type Damage, unreadBy } from './errors.js';
import { readU64, writeU64 } from './format.js';
import { NEVER_SCRUBBED } from './scrubber.js';

const MAGIC = 0x53534f53; // "SOSS"
/**
 * 2: the log may have LOST entries, and there may be `syncRegions`. A program that knows only 1 refuses the whole
 * deployment, which is what protects it: to it a LOST entry would be one that is damaged.
 */
const FORMAT = 2;
const OLDEST_FORMAT = 1;
const HEADER_BYTES = 24;
const PAD_BYTES = 4096;
/** Room for more than 100,000 activations of a primary. */
const MAX_BYTES = 4 * 1024 * 1024;
const COPIES = [0, 1, 2] as const;

const safe = z.int().min(0);
const uuid = z.string().refine(isUuid);
const bodySchema = z.object({
  volume: uuid.transform((id) => id as VolumeId),
  deployment: uuid.transform((id) => id as DeploymentId),
  blockSize: z.int().min(512).max(65_536),
  blocks: safe,
  /** Number of this deployment's files on this node. */
  inode: z.int().min(1),
  promised: safe.transform((epoch) => epoch as Epoch),
  history: z
    .array(
      z
        .tuple([safe, safe])
        .transform(([epoch, startsAfter]) => ({ epoch: epoch as Epoch, startsAfter: startsAfter as Sequence })),
    )
    .readonly(),
  unclean: z.boolean(),
  syncBase: z
    .tuple([safe, safe])
    .transform(([epoch, sequence]) => ({ epoch: epoch as Epoch, sequence: sequence as Sequence }))
    .nullable(),
  /** What of an incomplete sync is there; written by format 2 only. */
  syncRegions: z
    .array(
      z.tuple([safe, safe, safe]).transform(([below, epoch, sequence]) => ({
        below: below as BlockNumber,
        upTo: { epoch: epoch as Epoch, sequence: sequence as Sequence },
      })),
    )
    .readonly()
    .default([]),
  etcdClusterId: z.string().max(64),
  /** How often it was opened. */
  opening: safe,
  incarnation: z.string().max(64),
  bootId: z.string().max(64),
  /** Which `dev<N>` may hold segments, by number and id: without one of them the deployment does not open. */
  devices: z.array(z.tuple([z.int().min(1), uuid])).readonly(),
  /** Closed in good order: nothing can be missing, whatever happened to the machine since. */
  clean: z.boolean(),
  /** All batches up to this number were durable when this was written. */
  durableBatch: safe,
  /** The index as of then: number of the checkpoint's file, and its length. */
  checkpoint: z.object({ number: z.int().min(1), bytes: safe }).nullable(),
  /** A page of the index that was found damaged: the next opening repairs it. */
  damage: z.object({ path: z.string(), offset: safe, what: z.string() }).nullable().default(null),
  /** Where the present scrub is, how many have ended, and when the last one did. */
  scrub: z
    .object({ next: safe, doneBytes: safe.default(0), passes: safe, endedMs: safe.nullable().default(null) })
    .default(NEVER_SCRUBBED),
});

export type Superblock = z.output<typeof bodySchema>;

/** The part that replication sees. */
export function stateOf(superblock: Superblock): DeploymentState {
  const { volume, deployment, blockSize, blocks, promised, history, unclean, syncBase, syncRegions } = superblock;
  const { etcdClusterId } = superblock;
  return { volume, deployment, blockSize, blocks, promised, history, unclean, syncBase, syncRegions, etcdClusterId };
}

function encode(superblock: Superblock, number: number): Buffer {
  const { history, syncBase, syncRegions, ...rest } = superblock;
  const body = Buffer.from(
    JSON.stringify({
      ...rest,
      history: history.map(({ epoch, startsAfter }) => [epoch, startsAfter]),
      syncBase: syncBase === null ? null : [syncBase.epoch, syncBase.sequence],
      syncRegions: syncRegions.map(({ below, upTo }) => [below, upTo.epoch, upTo.sequence]),
    } satisfies z.input<typeof bodySchema>),
  );
  const copy = Buffer.alloc(Math.ceil((HEADER_BYTES + body.length) / PAD_BYTES) * PAD_BYTES);
  if (copy.length > MAX_BYTES) throw new RangeError(`superblock of ${copy.length} bytes`);
  copy.writeUInt32LE(MAGIC, 0);
  copy.writeUInt16LE(FORMAT, 8);
  copy.writeUInt32LE(body.length, 12);
  writeU64(copy, number, 16);
  body.copy(copy, HEADER_BYTES);
  copy.writeUInt32LE(crc32(copy.subarray(8, HEADER_BYTES + body.length)), 4);
  return copy;
}

/** What all formats have in common, later ones too. */
interface Sealed {
  readonly format: number;
  readonly number: number;
  /** JSON up to the present format. */
  readonly body: string;
}

/** An intact copy of any format, or what is wrong with it. */
function unseal(copy: Buffer): Sealed | string {
  if (copy.length < HEADER_BYTES) return `superblock of ${copy.length} bytes`;
  if (copy.readUInt32LE(0) !== MAGIC) return 'not a superblock';
  const length = copy.readUInt32LE(12);
  if (length > copy.length - HEADER_BYTES) return 'superblock cut short';
  if (copy.readUInt32LE(4) !== crc32(copy.subarray(8, HEADER_BYTES + length))) return 'superblock checksum';
  const body = copy.toString('utf8', HEADER_BYTES, HEADER_BYTES + length);
  return { format: copy.readUInt16LE(8), number: readU64(copy, 16), body };
}

/** The later format of a copy that is longer than any this program writes, so that its checksum is not looked at. */
function laterFormat(copy: Buffer): number | undefined {
  if (copy.length <= MAX_BYTES || copy.readUInt32LE(0) !== MAGIC) return undefined;
  const format = copy.readUInt16LE(8);
  return format > FORMAT ? format : undefined;
}

function unknownFormat(format: number): string {
  return `superblock of format ${format}, this program knows ${FORMAT}`;
}

interface Decoded {
  readonly superblock: Superblock;
  readonly number: number;
}

function decodeBody({ format, number, body }: Sealed): Decoded | string {
  if (format < OLDEST_FORMAT || format > FORMAT) return unknownFormat(format);
  const parsed = bodySchema.safeParse(JSON.parse(body));
  return parsed.success ? { superblock: parsed.data, number } : `superblock body: ${parsed.error.message}`;
}

/** What is in a copy, or what is wrong with it. */
export function decodeSuperblock(copy: Buffer): Decoded | string {
  const sealed = unseal(copy);
  return typeof sealed === 'string' ? sealed : decodeBody(sealed);
}

/** Whose a deployment is. */
export type Owner = Pick<Superblock, 'volume' | 'deployment'>;

const ownerSchema = bodySchema.pick({ volume: true, deployment: true });

/** Of a later format, if that keeps these two as they are. */
function ownerOf({ body }: Sealed): Owner | undefined {
  try {
    return ownerSchema.safeParse(JSON.parse(body)).data;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function newerCopy(format: number, owner: Owner | undefined): UnusableCopy {
  return { what: unknownFormat(format), unread: true, newer: { owner } };
}

interface UnusableCopy extends Pick<Damage, 'what' | 'unread'> {
  /** A newer program wrote it. */
  readonly newer?: { readonly owner: Owner | undefined };
}

export interface CopyReport {
  readonly path: string;
  readonly number?: number;
  readonly problem?: string;
}

export type SuperblockReading =
  | { readonly file: SuperblockFile; readonly superblock: Superblock }
  /** `owner`: known of one that a newer program wrote, and that has to stay as it is. */
  | { readonly damages: readonly Damage[]; readonly owner: Owner | undefined };

export class SuperblockFile {
  readonly #disk: Disk;
  /** May be renamed under us while nothing is being written. */
  readonly #directory: string;
  #number: number;
  /** Copies that hold it, perhaps in the page cache only: who wrote them may have been killed before the sync. */
  #unsynced: readonly number[];
  /** In which copies are written: the first one is not the only one that counts. */
  readonly #order: readonly [number, ...number[]];

  /** `holders`: copies of the superblock with this number. */
  private constructor(disk: Disk, directory: string, number: number, holders: readonly number[]) {
    this.#disk = disk;
    this.#directory = directory;
    this.#number = number;
    this.#unsynced = holders;
    const first = COPIES.find((copy) => !holders.includes(copy)) ?? COPIES[0];
    this.#order = [first, ...COPIES.filter((copy) => copy !== first)];
  }

  /** Writes the first superblock of a new deployment into its (new) directory. */
  static async create(disk: Disk, directory: string, superblock: Superblock): Promise<void> {
    await new SuperblockFile(disk, directory, 0, []).write(superblock);
    await disk.syncDirectory(directory);
  }

  /** Each copy's number, or what is wrong with it. */
  static copies(disk: Disk, directory: string): Promise<CopyReport[]> {
    return Promise.all(
      COPIES.map(async (copy): Promise<CopyReport> => {
        const path = `${directory}/super.${copy}`;
        const found = await readCopy(disk, path);
        return 'what' in found ? { path, problem: found.what } : { path, number: found.number };
      }),
    );
  }

  /**
   * The newest whole copy; if there is none, what is wrong with each. A copy of a newer format, whatever the others are,
   * is of a newer program, which has gone on from them: none of them counts.
   */
  static async read(disk: Disk, directory: string): Promise<SuperblockReading> {
    const damages: Damage[] = [];
    let newest: Decoded | undefined;
    let holders: number[] = [];
    let newer: UnusableCopy['newer'];
    for (const copy of COPIES) {
      const path = `${directory}/super.${copy}`;
      const found = await readCopy(disk, path);
      if ('what' in found) {
        const { newer: later, ...damage } = found;
        newer ??= later;
        damages.push({ path, offset: 0, ...damage });
      } else if (newest === undefined || found.number > newest.number) {
        newest = found;
        holders = [copy];
      } else if (found.number === newest.number) holders.push(copy);
    }
    if (newer !== undefined) return { damages, owner: newer.owner ?? newest?.superblock };
    if (newest === undefined) return { damages, owner: undefined };
    return { file: new SuperblockFile(disk, directory, newest.number, holders), superblock: newest.superblock };
  }

  /**
   * Durable in all copies when it resolves. Calls must not overlap. A copy is overwritten only while another one that
   * counts is durable: the present superblock's, until the new one is in the first copy.
   */
  async write(superblock: Superblock): Promise<void> {
    await Promise.all(this.#unsynced.map((copy) => this.#makeDurable(copy)));
    this.#unsynced = [];
    const bytes = encode(superblock, ++this.#number);
    const [first, ...others] = this.#order;
    await this.#makeDurable(first, bytes);
    await Promise.all(others.map((copy) => this.#makeDurable(copy, bytes)));
  }

  /** The copy as it is, or with new contents. */
  async #makeDurable(copy: number, bytes?: Buffer): Promise<void> {
    const file = await this.#disk.openAsync(`${this.#directory}/super.${copy}`, { create: bytes !== undefined });
    try {
      if (bytes !== undefined) await file.writeAsync([bytes], 0);
      await file.sync();
    } finally {
      await file.close();
    }
  }
}

async function readCopy(disk: Disk, path: string): Promise<Decoded | UnusableCopy> {
  try {
    const file = await disk.openAsync(path, { create: false });
    try {
      const room = Buffer.alloc(Math.min(file.size(), MAX_BYTES + 1));
      const copy = room.subarray(0, await file.readAsync(room, 0));
      const later = laterFormat(copy);
      if (later !== undefined) return newerCopy(later, undefined);
      const sealed = unseal(copy);
      if (typeof sealed === 'string') return { what: sealed };
      if (sealed.format > FORMAT) return newerCopy(sealed.format, ownerOf(sealed));
      const found = decodeBody(sealed);
      return typeof found === 'string' ? { what: found } : found;
    } finally {
      await file.close();
    }
  } catch (error) {
    if (error instanceof DiskError) return { what: error.message, ...unreadBy(error) };
    throw error;
  }
}
