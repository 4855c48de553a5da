/** TCP ports on loopback addresses. */

import { createServer, type ListenOptions, type Server } from 'node:net';

/** Free ports that are tried before there counts as none. */
const MAX_CANDIDATES = 32;

/** The server, listening; undefined if the place is taken. */
function listen(options: ListenOptions): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(undefined);
      else reject(error);
    });
    server.listen(options, () => resolve(server));
  });
}

/** Whether somebody else listens there, by trying to. `port` 0 asks for a free one. Resolves to the port, if it is free. */
export async function tryPort(host: string, port: number): Promise<number | undefined> {
  const server = await listen({ host, port, exclusive: true });
  const address = server?.address();
  await new Promise((closed) => (server === undefined ? closed(undefined) : server.close(closed)));
  return typeof address === 'object' && address !== null ? address.port : undefined;
}

/**
 * Ports for servers that this process starts. Between the choice of a port and the moment at which its server listens,
 * and while the server is stopped for a while, no other cluster of this machine takes it: a claim is a socket in the
 * abstract namespace, which the kernel gives to one process and takes back when that one ends. Other programs know
 * nothing of claims.
 */
export class PortClaims {
  readonly #held: Server[] = [];

  /** `wanted` if nobody has it, else any free port. */
  async claim(host: string, wanted = 0): Promise<number> {
    for (let attempt = 0; attempt < MAX_CANDIDATES; attempt++) {
      const candidate = attempt === 0 && wanted !== 0 ? wanted : await tryPort(host, 0);
      if (candidate !== undefined && (await this.#take(host, candidate))) return candidate;
    }
    throw new Error(`no free port on ${host}`);
  }

  release(): void {
    for (const server of this.#held.splice(0)) server.close();
  }

  async #take(host: string, port: number): Promise<boolean> {
    const claim = await listen({ path: `\0storageos-port-${host}:${port}` });
    if (claim === undefined) return false;
    claim.unref();
    // Only whoever has the claim looks: looking takes the port for a moment.
    if ((await tryPort(host, port)) === undefined) {
      claim.close();
      return false;
    }
    this.#held.push(claim);
    return true;
  }
}
