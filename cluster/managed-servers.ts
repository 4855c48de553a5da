/** The servers that the supervisor runs beside the agents: started, watched, and stopped and started again on request. */

import type { BinaryName } from './binaries.js';
import type { SupervisedChild } from './child.js';
import { ClusterError } from './errors.js';
import { type ServerSite, startEtcd, startTemporal } from './servers.js';

const STOP_MS = 15_000;
const TITLES: Readonly<Record<BinaryName, string>> = { etcd: 'etcd', temporal: 'The Temporal server' };
const STARTERS = { etcd: startEtcd, temporal: startTemporal };

export interface ManagedServersOptions {
  readonly site: Omit<ServerSite, 'executable'>;
  /** Says what happens by itself. */
  readonly notice: (message: string) => void;
  /** A server has a process, or none any more. */
  readonly changed: () => void;
}

interface Server {
  readonly executable: string;
  state: 'starting' | 'running' | 'stopped';
  child?: SupervisedChild;
}

export class ManagedServers {
  readonly #options: ManagedServersOptions;
  readonly #servers = new Map<BinaryName, Server>();

  constructor(options: ManagedServersOptions) {
    this.#options = options;
  }

  /** From now on the server is this supervisor's; resolves when it serves. Errors: those of its start (servers.ts). */
  async add(name: BinaryName, executable: string): Promise<void> {
    this.#servers.set(name, { executable, state: 'stopped' });
    await this.start(name);
  }

  /** Process id while it runs. */
  pid(name: BinaryName): number | undefined {
    const child = this.#servers.get(name)?.child;
    return child === undefined || child.exit !== undefined ? undefined : child.pid;
  }

  /** Resolves when the server serves. Errors: ClusterError('server') if it is running, 'child', 'timeout'. */
  async start(name: BinaryName): Promise<void> {
    const server = this.#server(name);
    if (server.state !== 'stopped') throw new ClusterError('server', `${TITLES[name]} is ${server.state} already.`);
    server.state = 'starting';
    try {
      await STARTERS[name]({ ...this.#options.site, executable: server.executable }, (child) => {
        server.child = child;
      });
    } catch (error) {
      await server.child?.kill();
      server.state = 'stopped';
      throw error;
    }
    server.state = 'running';
    this.#watch(name, server);
    this.#options.changed();
  }

  /** SIGTERM, and SIGKILL if that is not enough. Errors: ClusterError('server') if it is not running. */
  async stop(name: BinaryName): Promise<void> {
    const server = this.#server(name);
    if (server.state !== 'running') throw new ClusterError('server', `${TITLES[name]} is not running.`);
    server.state = 'stopped';
    await server.child?.stop(STOP_MS);
    this.#options.changed();
  }

  /** All of them, Temporal before etcd. */
  async stopAll(): Promise<void> {
    for (const name of ['temporal', 'etcd'] as const) {
      const server = this.#servers.get(name);
      if (server === undefined) continue;
      server.state = 'stopped';
      await server.child?.stop(STOP_MS);
    }
  }

  #server(name: BinaryName): Server {
    const server = this.#servers.get(name);
    if (server === undefined) throw new ClusterError('server', `${TITLES[name]} is not run by this supervisor.`);
    return server;
  }

  #watch(name: BinaryName, server: Server): void {
    const { child } = server;
    void child?.exited.then(({ code, signal }) => {
      if (server.state !== 'running' || server.child !== child) return;
      server.state = 'stopped';
      this.#options.notice(
        `${TITLES[name]} ended by itself (${signal ?? `code ${code}`}); I/O goes on. ` +
          `"npm run cluster -- start-server ${name}" starts it again. Its last words:\n${child.logTail()}`,
      );
      this.#options.changed();
    });
  }
}
