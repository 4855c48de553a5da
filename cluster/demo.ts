/** The demo volume of `npm start`: made through the HTTP API as a user would, attached to node 1, mounted. */

import { join } from 'node:path';
import type { ApiVolume } from '../client/types.js';
import type { Step } from './binaries.js';
import type { Cluster } from './cluster.js';
import {
  ensureAttached,
  firstRunning,
  mountsBelow,
  mountVolume,
  nbdUri,
  noDeviceReason,
  waitForDevice,
} from './volumes.js';

const NAME = 'demo';
const NAMESPACE = 'default';
const SIZE_BYTES = 2 ** 30;
const LABELS = {
  'storageos.com/replicas': '1',
  'storageos.com/encryption': 'true',
  'storageos.com/nocompress': 'false',
};

export interface Demo {
  readonly volume: ApiVolume;
  readonly nbdUri: string;
  readonly device?: string;
  readonly mountPoint?: string;
  /** Why there is no device or no mount. */
  readonly noMountReason?: string;
}

/** Finds the volume of an earlier start, or makes it; a cluster of one node has no second copy to make. */
async function ensureVolume(cluster: Cluster): Promise<ApiVolume> {
  const namespaceId = await cluster.api.namespaceId(NAMESPACE);
  const known = (await cluster.api.volumes(namespaceId)).find(({ name }) => name === NAME);
  if (known !== undefined) return known;
  const replicas = cluster.nodes.filter(({ state }) => state === 'running').length > 1 ? '1' : '0';
  return await cluster.api.createVolume(namespaceId, {
    name: NAME,
    sizeBytes: SIZE_BYTES,
    labels: { ...LABELS, 'storageos.com/replicas': replicas },
  });
}

/**
 * After the start of a node: a device that was gone with it is there again, the mount on it is not. Resolves to the
 * mount point if it was mounted.
 */
export async function remountDemo(cluster: Cluster, demo: Demo, started: string): Promise<string | undefined> {
  const { mountPoint, volume } = demo;
  if (mountPoint === undefined || mountsBelow(mountPoint).includes(mountPoint)) return undefined;
  const { attachedOn } = await cluster.api.volume(volume.namespaceID, volume.id);
  const node = cluster.node(started);
  if (attachedOn !== node.id) return undefined;
  await mountVolume(await waitForDevice(node, volume.id), 'ext4', mountPoint);
  return mountPoint;
}

/** Errors: ClusterError. What this machine can't do (no root, no FUSE) is no error but a reason in the result. */
export async function startDemo(cluster: Cluster, step: Step): Promise<Demo> {
  const volume = await step(`volume "${NAME}": 1 GiB, replicated, encrypted, compressed`, () => ensureVolume(cluster));
  const node = firstRunning(cluster);
  await step(`attached to ${node.name}`, () => ensureAttached(cluster, volume, node));
  const uri = nbdUri(node, volume.id);
  const noDevice = noDeviceReason();
  if (noDevice !== undefined) return { volume, nbdUri: uri, noMountReason: noDevice };
  const mountPoint = join(cluster.dataDir.mountDir, NAME);
  let device: string;
  try {
    device = await step('block device', () => waitForDevice(node, volume.id));
  } catch (error) {
    return { volume, nbdUri: uri, noMountReason: `${(error as Error).message}; see ${node.log}` };
  }
  await step(`ext4, mounted on ${mountPoint}`, async () => {
    if (!mountsBelow(mountPoint).includes(mountPoint)) await mountVolume(device, 'ext4', mountPoint);
  });
  return { volume, nbdUri: uri, device, mountPoint };
}
