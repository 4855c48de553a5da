import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { DomainError } from '../../core/errors.js';
import { isUuid, type VolumeId } from '../../core/types.js';
import { writeFileDurably } from '../durable-file.js';
import { volumesWithFile } from '../volume-files.js';

const SUFFIX = '.json';

const path = z.string().min(1).max(4096);

const volumeId = z.custom<VolumeId>((value) => typeof value === 'string' && isUuid(value));

const schema = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('fuse-loop'),
    volume: volumeId,
    socketPath: path,
    /** Where nbdfuse is mounted. */
    fuseDir: path,
    /** The nbdfuse process, once it was started. */
    process: z.object({ pid: z.number().int().positive(), startTime: z.string().max(32) }).optional(),
    /** /dev/loopN, once it was bound. */
    device: path.optional(),
  }),
  z.object({
    kind: z.literal('kernel-nbd'),
    socketPath: path,
    /** /dev/nbdN */
    device: path.optional(),
  }),
]);

/** What was made for a volume's block device, written before each step so that nothing is left unknown. */
export type DeviceRecord = z.infer<typeof schema>;

export type FuseLoopRecord = Extract<DeviceRecord, { kind: 'fuse-loop' }>;
export type KernelNbdRecord = Extract<DeviceRecord, { kind: 'kernel-nbd' }>;

const fileSchema = z.object({ bootId: z.string(), record: schema });

/** The records of this node's block devices: a file for each volume. What an earlier boot made is gone. */
export class DeviceRecords {
  readonly directory: string;
  readonly #bootId: string;

  constructor(directory: string, bootId: string) {
    this.directory = directory;
    this.#bootId = bootId;
  }

  /** Errors: DomainError('internal') if the record is damaged. */
  async read(volume: VolumeId): Promise<DeviceRecord | undefined> {
    let text: string;
    try {
      text = await readFile(this.#path(volume), 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    try {
      const { bootId, record } = fileSchema.parse(JSON.parse(text));
      return bootId === this.#bootId ? record : undefined;
    } catch (cause) {
      throw new DomainError('internal', `${this.#path(volume)} is damaged`, { cause });
    }
  }

  write(volume: VolumeId, record: DeviceRecord): Promise<void> {
    return writeFileDurably(this.#path(volume), JSON.stringify({ bootId: this.#bootId, record }), 0o600);
  }

  async remove(volume: VolumeId): Promise<void> {
    await rm(this.#path(volume), { force: true });
  }

  async volumes(): Promise<VolumeId[]> {
    await mkdir(this.directory, { recursive: true, mode: 0o700 });
    return volumesWithFile(this.directory, SUFFIX);
  }

  #path(volume: VolumeId): string {
    return join(this.directory, `${volume}${SUFFIX}`);
  }
}
