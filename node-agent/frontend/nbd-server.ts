import { chmod, mkdir, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { DomainError } from '../../core/errors.js';
import type { Clock } from '../../core/ports.js';
import type { IoMemory } from '../codec/index.js';
import { IoBudget } from './io-budget.js';
import { NbdConnection, type NbdConnectionOptions } from './nbd-connection.js';
import { MAX_REQUEST_BYTES } from './nbd-protocol.js';
import { Refusals } from './refusals.js';
import { type FrontendStats, newFrontendStats } from './stats.js';
import type { ByteDevice } from './volume-io.js';

/** Clients of one export at a time; more are cut off at once. */
export const MAX_CONNECTIONS = 64;
/** What the clients of one export may have in flight together. */
export const MAX_IN_FLIGHT_REQUESTS = 1024;
export const MAX_IN_FLIGHT_BYTES = 2 * MAX_REQUEST_BYTES;

/** Longest path of a unix socket that Linux takes, in bytes. */
const MAX_SOCKET_PATH_BYTES = 107;

export interface NbdServerOptions {
  readonly socketPath: string;
  readonly exportName: string;
  readonly device: ByteDevice;
  /** Where requests are received and long answers made. */
  readonly memory: IoMemory;
  readonly clock: Clock;
  readonly log: NbdConnectionOptions['log'];
}

/** Serves one device to NBD clients on a unix socket that only this user may open. */
export class NbdServer {
  readonly socketPath: string;
  readonly stats: FrontendStats = newFrontendStats();
  readonly #options: NbdServerOptions;
  readonly #refusals: Refusals;
  readonly #server: Server;
  readonly #connections = new Set<NbdConnection>();
  readonly #budget = new IoBudget({ maxRequests: MAX_IN_FLIGHT_REQUESTS, maxBytes: MAX_IN_FLIGHT_BYTES });

  private constructor(options: NbdServerOptions) {
    this.#options = options;
    this.#refusals = new Refusals(options);
    this.socketPath = options.socketPath;
    this.#server = createServer({ pauseOnConnect: true }, (socket) => this.#onConnection(socket));
  }

  /**
   * Errors: DomainError('invalid') if the path is too long for a socket; DomainError('internal') if the socket
   * can't be made.
   */
  static async listen(options: NbdServerOptions): Promise<NbdServer> {
    const { socketPath } = options;
    checkSocketPath(socketPath);
    const server = new NbdServer(options);
    try {
      await mkdir(dirname(socketPath), { recursive: true, mode: 0o700 });
      // Left behind by a process that was killed; the directory is ours alone.
      await rm(socketPath, { force: true });
      await new Promise<void>((resolve, reject) => {
        server.#server.once('error', reject);
        server.#server.listen(socketPath, () => {
          server.#server.off('error', reject);
          resolve();
        });
      });
      await chmod(socketPath, 0o600);
    } catch (cause) {
      server.#server.close();
      throw new DomainError('internal', `cannot listen on ${socketPath}: ${(cause as Error).message}`, { cause });
    }
    server.#server.on('error', (error) => options.log('warn', 'NBD server failed', { error: error.message }));
    return server;
  }

  get connections(): number {
    return this.#connections.size;
  }

  /** Cuts all clients off and removes the socket. */
  async close(): Promise<void> {
    for (const connection of this.#connections) connection.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
    await rm(this.socketPath, { force: true });
  }

  #onConnection(socket: Socket): void {
    if (this.#connections.size >= MAX_CONNECTIONS) {
      this.#options.log('warn', 'too many NBD clients', { limit: MAX_CONNECTIONS });
      socket.on('error', () => undefined);
      socket.destroy();
      return;
    }
    const connection = new NbdConnection({
      socket,
      exportName: this.#options.exportName,
      device: this.#options.device,
      budget: this.#budget,
      memory: this.#options.memory,
      stats: this.stats,
      refusals: this.#refusals,
      clock: this.#options.clock,
      log: this.#options.log,
      onClosed: () => this.#connections.delete(connection),
    });
    this.#connections.add(connection);
  }
}

/** Errors: DomainError('invalid') if no unix socket can have this path. */
export function checkSocketPath(path: string): void {
  const bytes = Buffer.byteLength(path);
  if (bytes <= MAX_SOCKET_PATH_BYTES) return;
  throw new DomainError(
    'invalid',
    `socket path ${path} has ${bytes} bytes, at most ${MAX_SOCKET_PATH_BYTES} are possible: set SOCKET_DIR to a shorter directory`,
  );
}
