import { createDecipheriv, createHmac, hkdfSync } from 'node:crypto';
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { VolumeId } from '../../../core/types.js';
import { deriveKey, ensureClusterKey, FileKeyStore, KeyError, loadClusterKey } from '../../../node-agent/keys/index.js';
import { halvesDiffer, unwrapKey, VolumeKey, wrapKey } from '../../../node-agent/keys/wrap.js';

const VOLUME = '11111111-2222-4333-8444-555555555555' as VolumeId;
const OTHER = '11111111-2222-4333-8444-666666666666' as VolumeId;

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'keys-'));
});
afterEach(() => rm(directory, { recursive: true }));

async function store(): Promise<FileKeyStore> {
  const clusterKey = await ensureClusterKey(join(directory, 'cluster.key'));
  return new FileKeyStore({ directory: join(directory, 'keys'), clusterKey });
}

async function failure(promise: Promise<unknown>): Promise<KeyError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(KeyError);
  return error as KeyError;
}

describe('volume keys', () => {
  it('are made once, 64 bytes whose halves differ, and load as they were made', async () => {
    const keys = await store();
    await keys.create(VOLUME);
    const first = await keys.load(VOLUME);
    await keys.create(VOLUME);
    const second = await keys.load(VOLUME);
    expect(first.bytes).toHaveLength(64);
    expect(second.bytes).toEqual(first.bytes);
    expect(halvesDiffer(first.bytes)).toBe(true);
    await keys.create(OTHER);
    expect((await keys.load(OTHER)).bytes).not.toEqual(first.bytes);
    first.erase();
    expect(first.bytes).toEqual(Buffer.alloc(64));
  });

  it('are the same for everybody who creates at once, and leave nothing else behind', async () => {
    const keys = await store();
    await Promise.all(Array.from({ length: 20 }, () => keys.create(VOLUME)));
    expect(await readdir(join(directory, 'keys'))).toEqual([`${VOLUME}.key`]);
    await keys.load(VOLUME);
  });

  it('can be asked for without being loaded', async () => {
    const keys = await store();
    expect(await keys.check(VOLUME)).toBe('missing');
    await keys.create(VOLUME);
    expect(await keys.check(VOLUME)).toBe('usable');
    const stranger = new FileKeyStore({ directory: join(directory, 'keys'), clusterKey: Buffer.alloc(32, 9) });
    expect(await stranger.check(VOLUME)).toBe('unusable');
  });

  it('have the documented form, mode 0600, and no clear text', async () => {
    const keys = await store();
    await keys.create(VOLUME);
    const path = join(directory, 'keys', `${VOLUME}.key`);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    const text = await readFile(path, 'utf8');
    const file = JSON.parse(text) as { version: number; volume: string; iv: string; vuk: string; hmac: string };
    const [iv, vuk, hmac] = [file.iv, file.vuk, file.hmac].map((field) => Buffer.from(field, 'base64')) as Buffer[];
    const clusterKey = await loadClusterKey(join(directory, 'cluster.key'));
    const intermediate = Buffer.from(hkdfSync('sha256', clusterKey, iv!, '', 32));
    const decipher = createDecipheriv('aes-256-cbc', intermediate, vuk!.subarray(0, 16)).setAutoPadding(false);
    const key = Buffer.concat([decipher.update(vuk!.subarray(16)), decipher.final()]);
    expect(Buffer.from((await keys.load(VOLUME)).bytes)).toEqual(key);
    expect(hmac).toEqual(createHmac('sha256', iv!).update(key).digest());
    expect(text).not.toContain(key.toString('base64').slice(0, 16));
    expect(Buffer.from(text).includes(key.subarray(0, 8))).toBe(false);
  });

  it('are gone after deletion, which can be repeated', async () => {
    const keys = await store();
    await keys.create(VOLUME);
    await keys.delete(VOLUME);
    await keys.delete(VOLUME);
    expect((await failure(keys.load(VOLUME))).kind).toBe('missing');
  });

  it('refuse another cluster key, another volume, damage and garbage, naming the file only', async () => {
    const keys = await store();
    await keys.create(VOLUME);
    const path = join(directory, 'keys', `${VOLUME}.key`);
    const text = await readFile(path, 'utf8');

    const stranger = new FileKeyStore({ directory: join(directory, 'keys'), clusterKey: Buffer.alloc(32, 7) });
    const wrong = await failure(stranger.load(VOLUME));
    expect(wrong.kind).toBe('wrong-key');
    expect(wrong.message).toContain(path);

    await writeFile(join(directory, 'keys', `${OTHER}.key`), text);
    expect((await failure(keys.load(OTHER))).kind).toBe('malformed');

    for (const field of ['iv', 'vuk', 'hmac'] as const) {
      const file = JSON.parse(text) as Record<string, string>;
      const bytes = Buffer.from(file[field]!, 'base64');
      bytes.writeUInt8(bytes.readUInt8(bytes.length - 1) ^ 1, bytes.length - 1);
      await writeFile(path, JSON.stringify({ ...file, [field]: bytes.toString('base64') }));
      expect((await failure(keys.load(VOLUME))).kind).toBe('wrong-key');
    }
    for (const garbage of ['', 'x', '{}', '{"version":2}', text.slice(0, 100), 'a'.repeat(10_000)]) {
      await writeFile(path, garbage);
      const error = await failure(keys.load(VOLUME));
      expect(error.kind).toBe('malformed');
      if (garbage.length > 20) expect(error.message).not.toContain(garbage.slice(0, 20));
    }
    expect((await failure(keys.load('../x' as VolumeId))).kind).toBe('malformed');
  });

  it('refuses a wrapped key whose halves are equal', () => {
    const clusterKey = Buffer.alloc(32, 1);
    expect(unwrapKey(wrapKey(new VolumeKey(Buffer.alloc(64, 9)), clusterKey), clusterKey)).toBeUndefined();
  });
});

describe('the cluster key', () => {
  it('is made once, by one of several', async () => {
    const path = join(directory, 'cluster.key');
    const keys = await Promise.all(Array.from({ length: 10 }, () => ensureClusterKey(path)));
    expect(new Set(keys.map((key) => key.toString('hex'))).size).toBe(1);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(keys[0]).toHaveLength(32);
  });

  it('is refused if others can read it, or if it is not a key', async () => {
    const path = join(directory, 'cluster.key');
    expect((await failure(loadClusterKey(path))).kind).toBe('missing');
    await ensureClusterKey(path);
    await chmod(path, 0o644);
    expect((await failure(ensureClusterKey(path))).kind).toBe('exposed');
    await writeFile(path, 'short');
    await chmod(path, 0o600);
    expect((await failure(ensureClusterKey(path))).kind).toBe('malformed');
  });

  it('gives different keys for different purposes', () => {
    const key = Buffer.alloc(32, 3);
    expect(deriveKey(key, 'gossip')).toHaveLength(32);
    expect(deriveKey(key, 'gossip')).toEqual(deriveKey(key, 'gossip'));
    expect(deriveKey(key, 'gossip')).not.toEqual(deriveKey(key, 'tokens'));
  });
});
