/** The supervisor's data directory: its layout, its lock, and what it remembers from start to start. */

import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { writeFileDurably } from '../node-agent/durable-file.js';
import { ClusterError } from './errors.js';

export const MAX_NODES = 16;
/** The longest path that a unix socket can have on Linux, bytes. */
const MAX_SOCKET_PATH_BYTES = 107;

const layoutSchema = z.object({
  format: z.literal(1),
  /** Node i lives at 127.0.<network>.<i>. */
  network: z.number().int().min(0).max(254),
  nodes: z.array(z.object({ name: z.string(), id: z.string().uuid() })).max(MAX_NODES),
  ports: z.object({
    etcdClient: z.number().int(),
    etcdPeer: z.number().int(),
    temporal: z.number().int(),
    temporalUi: z.number().int(),
  }),
});

/** What stays the same from start to start. */
export type Layout = z.infer<typeof layoutSchema>;

const credentialsSchema = z.object({ username: z.string().min(1), password: z.string().min(8) });

export type Credentials = z.infer<typeof credentialsSchema>;

/** `$XDG_DATA_HOME/storageos`, by default below `~/.local/share`. */
export function defaultDataDir(env: NodeJS.ProcessEnv = process.env): string {
  return join(env.XDG_DATA_HOME || join(env.HOME || homedir(), '.local', 'share'), 'storageos');
}

export class DataDir {
  readonly root: string;

  constructor(root: string) {
    this.root = resolve(root);
  }

  get factsFile(): string {
    return join(this.root, 'cluster.json');
  }
  get credentialsFile(): string {
    return join(this.root, 'credentials.json');
  }
  get layoutFile(): string {
    return join(this.root, 'layout.json');
  }
  get pkiDir(): string {
    return join(this.root, 'pki');
  }
  get secretsDir(): string {
    return join(this.root, 'secrets');
  }
  get runDir(): string {
    return join(this.root, 'run');
  }
  get mountDir(): string {
    return join(this.root, 'mnt');
  }
  get etcdDir(): string {
    return join(this.root, 'etcd');
  }
  get temporalDir(): string {
    return join(this.root, 'temporal');
  }
  nodeDir(name: string): string {
    return join(this.root, name);
  }

  /** The path of a unix socket below the data directory, or, where that is too long, below the system's folder. */
  socketPath(name: string, longestName = name): string {
    const inside = join(this.runDir, name);
    if (Buffer.byteLength(join(this.runDir, longestName)) <= MAX_SOCKET_PATH_BYTES) return inside;
    return join('/tmp', `storageos-${process.getuid?.() ?? 0}-${this.digest().slice(0, 12)}`, name);
  }

  create(): void {
    mkdirSync(this.root, { recursive: true, mode: 0o755 });
    for (const folder of [this.pkiDir, this.secretsDir, this.runDir]) {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
    }
    mkdirSync(this.mountDir, { recursive: true, mode: 0o755 });
  }

  get exists(): boolean {
    return existsSync(this.layoutFile);
  }

  /**
   * Errors: ClusterError when another supervisor has it, with that one's pid. The lock is a socket in the abstract
   * namespace: the kernel gives it to one process and takes it back when that process ends, however it ends.
   */
  async lock(): Promise<Server> {
    const server = createServer((socket) => socket.end(String(process.pid)));
    await new Promise<void>((done, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => {
        reject(error.code === 'EADDRINUSE' ? this.#lockedError() : error);
      });
      server.listen(`\0storageos-cluster-${this.digest()}`, done);
    });
    server.unref();
    return server;
  }

  #lockedError(): ClusterError {
    let pid: unknown;
    try {
      pid = (JSON.parse(readFileSync(this.factsFile, 'utf8')) as { pid?: unknown }).pid;
    } catch {
      // It has only just started.
    }
    const who = typeof pid === 'number' ? ` (process ${pid})` : '';
    return new ClusterError(
      'locked',
      `A cluster is already running on ${this.root}${who}. Stop it with Ctrl-C where it runs, or start another one ` +
        'with --data-dir DIR and --network N.',
    );
  }

  digest(): string {
    return createHash('sha256').update(realpathSync(this.root)).digest('hex');
  }

  readLayout(): Layout | undefined {
    if (!existsSync(this.layoutFile)) return undefined;
    const parsed = layoutSchema.safeParse(readJson(this.layoutFile));
    if (!parsed.success) throw new ClusterError('data-dir', `${this.layoutFile} is not what this version writes`);
    return parsed.data;
  }

  async writeLayout(layout: Layout): Promise<void> {
    await writeFileDurably(this.layoutFile, `${JSON.stringify(layout, null, 2)}\n`);
  }

  /** The first user: from the environment at the first start, else made up and remembered. */
  async credentials(env: NodeJS.ProcessEnv = process.env): Promise<Credentials> {
    if (existsSync(this.credentialsFile)) {
      const parsed = credentialsSchema.safeParse(readJson(this.credentialsFile));
      if (!parsed.success) throw new ClusterError('data-dir', `${this.credentialsFile} is damaged`);
      return parsed.data;
    }
    const parsed = credentialsSchema.safeParse({
      username: env.BOOTSTRAP_USERNAME || 'storageos',
      password: env.BOOTSTRAP_PASSWORD || randomBytes(12).toString('base64url'),
    });
    if (!parsed.success) throw new ClusterError('invalid', 'BOOTSTRAP_PASSWORD must have at least 8 characters');
    await writeFileDurably(this.credentialsFile, `${JSON.stringify(parsed.data, null, 2)}\n`, 0o600);
    return parsed.data;
  }

  /** Everything in it. Only for a directory that this program has laid out. */
  destroy(): void {
    if (!this.exists) throw new ClusterError('data-dir', `${this.root} holds no cluster`);
    rmSync(this.root, { recursive: true, force: true });
  }
}

export function nodeName(index: number): string {
  return `node${index}`;
}

export function nodeAddress(layout: Pick<Layout, 'network'>, index: number): string {
  return `127.0.${layout.network}.${index}`;
}

export function newNode(index: number): Layout['nodes'][number] {
  return { name: nodeName(index), id: randomUUID() };
}

function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}
