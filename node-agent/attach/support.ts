import { accessSync, constants, existsSync } from 'node:fs';
import { join } from 'node:path';
import { TOOL_PATH } from './run.js';

export type DeviceKind = 'kernel-nbd' | 'fuse-loop';

/** What a block device can be made of on this machine, or why none can be made. */
export type DeviceSupport = { readonly kind: DeviceKind } | { readonly reason: string };

/** What `deviceSupport` looks at. */
export interface MachineFacts {
  readonly isRoot: boolean;
  exists(path: string): boolean;
  hasTool(name: string): boolean;
}

export const thisMachine: MachineFacts = {
  isRoot: process.getuid?.() === 0,
  exists: existsSync,
  hasTool: (name) =>
    TOOL_PATH.split(':').some((directory) => {
      try {
        accessSync(join(directory, name), constants.X_OK);
        return true;
      } catch {
        return false;
      }
    }),
};

/** The kernel's NBD client is preferred; the way through FUSE needs nothing of the kernel but FUSE and loop. */
export function deviceSupport(machine: MachineFacts = thisMachine): DeviceSupport {
  if (!machine.isRoot) return { reason: 'making block devices needs root' };
  const hasKernelNbd = machine.exists('/sys/module/nbd') || machine.exists('/sys/block/nbd0');
  if (hasKernelNbd && machine.hasTool('nbd-client')) return { kind: 'kernel-nbd' };
  const lacking = [
    ...(machine.exists('/dev/fuse') ? [] : ['/dev/fuse']),
    ...(machine.exists('/dev/loop-control') ? [] : ['/dev/loop-control']),
    ...(machine.hasTool('nbdfuse') ? [] : ['nbdfuse (Debian package libnbd-bin)']),
    ...(machine.hasTool('fusermount3') ? [] : ['fusermount3 (Debian package fuse3)']),
    ...(machine.hasTool('losetup') ? [] : ['losetup (Debian package mount)']),
  ];
  if (lacking.length === 0) return { kind: 'fuse-loop' };
  const kernel = hasKernelNbd ? 'nbd-client is missing' : 'the kernel has no NBD client';
  return { reason: `${kernel}, and for the way through FUSE there is no ${lacking.join(', no ')}` };
}
