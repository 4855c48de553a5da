/** Volumes of the embedded cluster as this machine sees them: attached, formatted, mounted. */

import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ApiVolume } from '../client/types.js';
import type { FsType } from '../core/domain.js';
import type { VolumeId } from '../core/types.js';
import { formatDevice, mountDevice, unmountPath } from '../node-agent/attach/filesystem.js';
import { DeviceManager, deviceSupport } from '../node-agent/attach/index.js';
import { CommandError, run } from '../node-agent/attach/run.js';
import { stateDirOf } from '../node-agent/config.js';
import type { AgentPaths } from './agent.js';
import type { Cluster } from './cluster.js';
import { ClusterError } from './errors.js';
import type { NodeFacts, VolumeFacts } from './facts.js';
import { waitFor } from './wait.js';

const DEVICE_TIMEOUT_MS = 30_000;
const UNMOUNT_TIMEOUT_MS = 10_000;
const SYNC_TIMEOUT_MS = 30_000;

/** Why this machine can't show a block device; undefined if nothing stands against it. */
export function noDeviceReason(): string | undefined {
  const support = deviceSupport();
  return 'reason' in support ? support.reason : undefined;
}

/** NBD's unix socket of a volume that is attached to the node. */
export function nbdSocket(node: NodeFacts, volumeId: string): string {
  return join(node.socketDir, `${volumeId}.nbd.sock`);
}

/** NBD URI of a volume that is attached to the node. */
export function nbdUri(node: NodeFacts, volumeId: string): string {
  return `nbd+unix:///?socket=${encodeURI(nbdSocket(node, volumeId))}`;
}

export function devicePath(node: NodeFacts, volumeId: string): string {
  return join(node.deviceDir, `v.${volumeId}`);
}

/** Attaches the volume to the node if it is not attached there, and waits until the node shows it. */
export async function ensureAttached(cluster: Cluster, volume: ApiVolume, node: NodeFacts): Promise<ApiVolume> {
  const current = await cluster.api.volume(volume.namespaceID, volume.id);
  if (current.attachedOn !== '' && current.attachedOn !== node.id) await cluster.api.detach(volume);
  if (current.attachedOn !== node.id || !existsSync(nbdSocket(node, volume.id))) {
    await cluster.api.attach(volume, node.id);
  }
  await waitFor(
    `${node.name} to show volume ${volume.name}`,
    () => existsSync(nbdSocket(node, volume.id)) || undefined,
    {
      timeoutMs: DEVICE_TIMEOUT_MS,
    },
  );
  return await cluster.api.volume(volume.namespaceID, volume.id);
}

/** The volume's block device on the node, as soon as it is there. Errors: ClusterError('timeout'). */
export async function waitForDevice(node: NodeFacts, volumeId: string): Promise<string> {
  const device = devicePath(node, volumeId);
  await waitFor(`the block device of volume ${volumeId} on ${node.name}`, () => existsSync(device) || undefined, {
    timeoutMs: DEVICE_TIMEOUT_MS,
  });
  return device;
}

/** Formats the device if it is blank, and mounts it. */
export async function mountVolume(device: string, fsType: FsType, mountPoint: string): Promise<void> {
  await formatDevice(device, fsType);
  mkdirSync(mountPoint, { recursive: true });
  await mountDevice(device, mountPoint, fsType);
}

/** What is mounted at or below a directory, innermost first. */
export function mountsBelow(directory: string): string[] {
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) =>
      (line.split(' ')[1] ?? '').replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8))),
    )
    .filter((path) => path === directory || path.startsWith(`${directory}/`))
    .reverse();
}

/**
 * Unmounts all that is mounted below the directory. Errors: ClusterError('timeout') naming what stays busy, of which
 * everything is on the volume that was written until now, or whose volume takes nothing.
 */
export async function unmountAll(directory: string): Promise<void> {
  for (const mountPoint of mountsBelow(directory)) {
    try {
      await run('sync', ['--file-system', mountPoint], { timeoutMs: SYNC_TIMEOUT_MS });
    } catch (error) {
      // It keeps the mount busy until its device is gone. Where it fails, that is gone: unmounting says more.
      if (error instanceof CommandError && error.problem === 'timeout') {
        const message = `${mountPoint}: its volume takes no writes now; what was not synced is not on it`;
        throw new ClusterError('timeout', message, { cause: error });
      }
    }
    await waitFor(
      `${mountPoint} to be unmounted (end the programs that use it: "fuser -vm ${mountPoint}")`,
      async () => {
        await unmountPath(mountPoint);
        return true;
      },
      { timeoutMs: UNMOUNT_TIMEOUT_MS, intervalMs: 500 },
    );
  }
}

/** Mounts of an earlier run whose agents are gone: nothing can be written to them any more, whoever holds them. */
export async function releaseStaleMounts(directory: string): Promise<string[]> {
  const stale = mountsBelow(directory);
  for (const mountPoint of stale) {
    await unmountPath(mountPoint).catch(() => run('umount', ['--lazy', mountPoint], { timeoutMs: UNMOUNT_TIMEOUT_MS }));
  }
  return stale;
}

/** Block devices of an agent that was killed, for good: nothing serves them any more. */
export async function removeDeadDevices({ rootDir, deviceDir }: AgentPaths): Promise<void> {
  const stateDir = stateDirOf(rootDir);
  if (existsSync(stateDir)) await new DeviceManager({ stateDir, deviceDir, log: () => {} }).removeLeftovers();
}

/** What was written to them is on their volumes then, wherever they are mounted; but for those that `failed` is told. */
export async function syncDevices(
  { rootDir, deviceDir }: AgentPaths,
  failed: (volume: VolumeId, error: Error) => void,
): Promise<void> {
  const stateDir = stateDirOf(rootDir);
  if (existsSync(stateDir)) await new DeviceManager({ stateDir, deviceDir, log: () => {} }).syncAll(failed);
}

/** What `cluster.json` says of all volumes. */
export async function surveyVolumes(cluster: Cluster): Promise<VolumeFacts[]> {
  const facts: VolumeFacts[] = [];
  const mounts = mountsBelow(cluster.dataDir.mountDir);
  for (const namespace of await cluster.api.namespaces()) {
    for (const volume of await cluster.api.volumes(namespace.id)) {
      const node = cluster.nodes.find(({ id }) => id === volume.attachedOn);
      const mountPoint = mounts.find((path) => path === join(cluster.dataDir.mountDir, volume.name));
      facts.push({
        namespace: namespace.name,
        name: volume.name,
        id: volume.id,
        ...(node !== undefined && { attachedOn: node.name, nbdUri: nbdUri(node, volume.id) }),
        ...(node !== undefined && existsSync(devicePath(node, volume.id)) && { device: devicePath(node, volume.id) }),
        ...(mountPoint !== undefined && { mountPoint }),
      });
    }
  }
  return facts;
}

/** The first node that runs, in the cluster's order. Errors: ClusterError('node'). */
export function firstRunning(cluster: Cluster): NodeFacts {
  const node = cluster.nodes.find(({ state }) => state === 'running');
  if (node === undefined) throw new ClusterError('node', 'No node is running.');
  return node;
}
