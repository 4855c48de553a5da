/** TCP ports on loopback addresses. */

import { createServer } from 'node:net';

/** Whether somebody else listens there, by trying to. `port` 0 asks for a free one. Resolves to the port, if it is free. */
export function tryPort(host: string, port: number): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(undefined);
      else reject(error);
    });
    server.listen({ host, port, exclusive: true }, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : undefined));
    });
  });
}

/** `wanted` if it is free, else any free port. Another process may take it before it is used; the user then sees that. */
export async function freePort(host: string, wanted = 0): Promise<number> {
  const preferred = wanted === 0 ? undefined : await tryPort(host, wanted);
  const port = preferred ?? (await tryPort(host, 0));
  if (port === undefined) throw new Error(`no free port on ${host}`);
  return port;
}

export async function freePorts(host: string, count: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) ports.add(await freePort(host));
  return [...ports];
}
