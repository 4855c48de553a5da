import { open, readFile, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { KeyCondition } from '../../core/lost-volumes.js';
import { isUuid, type VolumeId } from '../../core/types.js';
import { createFileDurably, syncDirectory } from '../durable-file.js';
import { KeyError } from './errors.js';
import {
  generateVolumeKey,
  HMAC_BYTES,
  IV_BYTES,
  unwrapKey,
  type VolumeKey,
  WRAPPED_KEY_BYTES,
  wrapKey,
} from './wrap.js';

/** Where the keys of encrypted volumes are. */
export interface KeyStore {
  /** Makes the volume's key; keeps the one that there is. */
  create(volume: VolumeId): Promise<void>;
  /** The caller erases the key. Errors: KeyError. */
  load(volume: VolumeId): Promise<VolumeKey>;
  /** Whether `load` would give a key. Errors: those of the file system. */
  check(volume: VolumeId): Promise<KeyCondition>;
  /** The volume's data cannot be read any more, by anybody. Idempotent. */
  delete(volume: VolumeId): Promise<void>;
}

const VERSION = 1;
const MAX_FILE_BYTES = 4096;

const base64 = (bytes: number) =>
  z
    .string()
    .max(256)
    .transform((text) => Buffer.from(text, 'base64'))
    .refine((value) => value.length === bytes);

const schema = z.object({
  version: z.literal(VERSION),
  volume: z.string().refine(isUuid),
  iv: base64(IV_BYTES),
  vuk: base64(WRAPPED_KEY_BYTES),
  hmac: base64(HMAC_BYTES),
});

/** One file of mode 0600 for each volume, `<volume id>.key`: JSON with the wrapped key (`wrap.ts`). */
export class FileKeyStore implements KeyStore {
  readonly #directory: string;
  readonly #clusterKey: Uint8Array;

  constructor(options: { directory: string; clusterKey: Uint8Array }) {
    this.#directory = options.directory;
    this.#clusterKey = options.clusterKey;
  }

  async create(volume: VolumeId): Promise<void> {
    const path = this.#path(volume);
    try {
      (await this.load(volume)).erase();
      return;
    } catch (error) {
      if (!(error instanceof KeyError) || error.kind !== 'missing') throw error;
    }
    const key = generateVolumeKey();
    const { iv, vuk, hmac } = wrapKey(key, this.#clusterKey);
    key.erase();
    const content = {
      version: VERSION,
      volume,
      iv: iv.toString('base64'),
      vuk: vuk.toString('base64'),
      hmac: hmac.toString('base64'),
    };
    await createFileDurably(path, `${JSON.stringify(content)}\n`, 0o600);
  }

  async load(volume: VolumeId): Promise<VolumeKey> {
    const path = this.#path(volume);
    const parsed = schema.safeParse(parse(await read(path)));
    if (!parsed.success) throw new KeyError('malformed', path, 'not a volume key, or damaged');
    if (parsed.data.volume !== volume) throw new KeyError('malformed', path, 'the key of another volume');
    const key = unwrapKey(parsed.data, this.#clusterKey);
    if (key === undefined) throw new KeyError('wrong-key', path, 'not wrapped with this cluster key, or damaged');
    return key;
  }

  async check(volume: VolumeId): Promise<KeyCondition> {
    try {
      (await this.load(volume)).erase();
      return 'usable';
    } catch (error) {
      if (!(error instanceof KeyError)) throw error;
      return error.kind === 'missing' ? 'missing' : 'unusable';
    }
  }

  async delete(volume: VolumeId): Promise<void> {
    const path = this.#path(volume);
    try {
      const file = await open(path, 'r+');
      try {
        // So that a file system that reuses the blocks in place keeps nothing; the cluster key guards the rest.
        const { size } = await file.stat();
        await file.write(Buffer.alloc(Math.min(size, MAX_FILE_BYTES)), 0, undefined, 0);
        await file.sync();
      } finally {
        await file.close();
      }
      await unlink(path);
      await syncDirectory(this.#directory);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }

  #path(volume: VolumeId): string {
    if (!isUuid(volume)) throw new KeyError('malformed', this.#directory, 'a volume id that is no UUID');
    return join(this.#directory, `${volume}.key`);
  }
}

async function read(path: string): Promise<string> {
  try {
    const { size } = await stat(path);
    if (size > MAX_FILE_BYTES) throw new KeyError('malformed', path, 'too large for a volume key');
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw new KeyError('missing', path, 'no key here');
    throw error;
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
