/** The TCP and UDP sockets of processes, as the kernel lists them. */

import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** The address is all zeroes: listening, or not connected. */
const NOWHERE = /^0+$/;
/** 127.0.0.0/8 as the kernel writes it, little-endian; ::1, and IPv4's loopback inside IPv6. */
const LOOPBACK = [/^[0-9A-F]{6}7F$/, /^0{24}01000000$/, /^0{16}FFFF0000[0-9A-F]{6}7F$/];

function socketsOf(pid: number): Set<string> {
  try {
    const folder = `/proc/${pid}/fd`;
    const links = readdirSync(folder).map((fd) => readlinkSync(`${folder}/${fd}`));
    return new Set(links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? []));
  } catch {
    // It has ended, or closed a file meanwhile.
    return new Set();
  }
}

/** Children of the process, and theirs. */
export function descendants(pid: number): number[] {
  const children = readdirSync(`/proc/${pid}/task`).flatMap((task) =>
    readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8')
      .split(' ')
      .filter((child) => child !== '')
      .map(Number),
  );
  return children.flatMap((child) => [child, ...descendants(child)]);
}

/** Remote ends outside this machine, as `<address>:<port>` in the kernel's hexadecimal. */
export function foreignConnections(pid: number): string[] {
  const sockets = socketsOf(pid);
  return ['tcp', 'tcp6', 'udp', 'udp6'].flatMap((protocol) =>
    readFileSync(`/proc/${pid}/net/${protocol}`, 'utf8')
      .split('\n')
      .slice(1)
      .flatMap((line) => {
        const [, , remote = '', , , , , , , inode = ''] = line.trim().split(/\s+/);
        const [address = ''] = remote.split(':');
        const near = address === '' || NOWHERE.test(address) || LOOPBACK.some((pattern) => pattern.test(address));
        return sockets.has(inode) && !near ? [`${protocol} ${remote}`] : [];
      }),
  );
}
