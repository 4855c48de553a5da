/**
 * What this node knows of the volumes that it has copies of, beside the copies: an etcd that has lost a volume's record
 * can be given it again (core/lost-volumes.ts). One file for each volume, `<volume id>.json`.
 */

import { open, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Volume } from '../core/domain.js';
import type { RememberedVolume } from '../core/recovery.js';
import type { NamespaceId, VolumeId } from '../core/types.js';
import { syncDirectory, writeFileDurably } from './durable-file.js';
import type { Logger } from './log.js';
import { toldVolumeSchema } from './state/schemas.js';
import { volumesWithFile } from './volume-files.js';

const VERSION = 1;
const SUFFIX = '.json';
/** A record is at most 1 MiB in etcd. */
const MAX_FILE_BYTES = 2 << 20;

const schema = z.object({
  version: z.literal(VERSION),
  namespaceName: z.string().max(253),
  volume: toldVolumeSchema,
});

/** What is remembered, and as which text it is on the disk. */
interface Entry {
  readonly text: string;
  readonly remembered: RememberedVolume;
}

export interface VolumeMemoryOptions {
  readonly directory: string;
  /** '' if it is not known. */
  readonly namespaceName: (namespace: NamespaceId) => string;
  readonly logger: Logger;
}

export class VolumeMemory {
  readonly #options: VolumeMemoryOptions;
  readonly #known = new Map<VolumeId, Entry>();
  /** One file at a time, in the order of the calls. */
  #writing: Promise<void> = Promise.resolve();

  private constructor(options: VolumeMemoryOptions) {
    this.#options = options;
  }

  /** Files that cannot be read are left out, and logged. Errors: those of the file system for the directory. */
  static async open(options: VolumeMemoryOptions): Promise<VolumeMemory> {
    const { directory, logger } = options;
    const memory = new VolumeMemory(options);
    for (const volume of await volumesWithFile(directory, SUFFIX)) {
      const name = `${volume}${SUFFIX}`;
      try {
        await memory.#read(name);
      } catch (err) {
        logger.warn({ file: join(directory, name), err }, 'what was remembered of a volume cannot be read');
      }
    }
    return memory;
  }

  of(volume: VolumeId): RememberedVolume | undefined {
    return this.#known.get(volume)?.remembered;
  }

  /** Writes it if it is news. What cannot be written is logged: nothing else depends on it. */
  remember(volume: Volume): void {
    const namespaceName = this.#options.namespaceName(volume.namespace);
    const text = JSON.stringify({ version: VERSION, namespaceName, volume });
    if (this.#known.get(volume.id)?.text === text) return;
    this.#known.set(volume.id, { text, remembered: { volume, namespaceName } });
    this.#later(volume.id, () => writeFileDurably(this.#path(volume.id), text, 0o600));
  }

  /** There is nothing of the volume on this node any more. */
  forget(volume: VolumeId): void {
    if (!this.#known.delete(volume)) return;
    this.#later(volume, async () => {
      await unlink(this.#path(volume)).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw error;
      });
      await syncDirectory(this.#options.directory);
    });
  }

  /** Resolves when everything is on the disk that was told before. */
  settled(): Promise<void> {
    return this.#writing;
  }

  #later(volume: VolumeId, work: () => Promise<void>): void {
    this.#writing = this.#writing
      .then(work)
      .catch((err) =>
        this.#options.logger.warn({ volume, err }, 'what is known of a volume cannot be kept beside its copy'),
      );
  }

  async #read(name: string): Promise<void> {
    const file = await open(join(this.#options.directory, name), 'r');
    try {
      const { size } = await file.stat();
      if (size > MAX_FILE_BYTES) throw new RangeError(`${size} bytes`);
      const text = await file.readFile('utf8');
      const { volume, namespaceName } = schema.parse(JSON.parse(text));
      if (name !== `${volume.id}${SUFFIX}`) throw new RangeError(`this is volume ${volume.id}`);
      this.#known.set(volume.id, { text, remembered: { volume, namespaceName } });
    } finally {
      await file.close();
    }
  }

  #path(volume: VolumeId): string {
    return join(this.#options.directory, `${volume}${SUFFIX}`);
  }
}
