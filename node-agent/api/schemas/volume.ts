import { z } from 'zod';
import { changes, labels, uint64 } from './common.js';
import { nfsExport } from './nfs.js';
import { nodeHealth } from './node.js';

export const fsType = z.enum(['ext2', 'ext3', 'ext4', 'xfs', 'btrfs', 'block']).meta({
  id: 'FsType',
  description: '`block`: no file system, the consumer gets the device.',
});

export const failureModeIntent = z.enum(['hard', 'soft', 'alwayson']).meta({ id: 'FailureModeIntent' });

const deployment = {
  id: z.string(),
  nodeID: z.string(),
  hostname: z.string(),
  promotable: z.boolean().meta({ description: 'Holds every acknowledged write.' }),
};

const replica = z
  .object({
    ...deployment,
    health: z
      .enum(['recovering', 'provisioning', 'provisioned', 'syncing', 'ready', 'deleted', 'failed', 'unknown'])
      .meta({ id: 'ReplicaHealth' }),
    syncProgress: z
      .object({
        bytesTotal: uint64('Bytes that the replica lacked at the beginning.'),
        bytesRemaining: uint64('Bytes that are still to be copied.'),
        throughputBytes: uint64('Bytes per second, on average.'),
        estimatedSecondsRemaining: uint64('0 if no estimate can be made.'),
      })
      .meta({
        id: 'SyncProgress',
        description: 'Only of a replica that is being filled, as soon as it is known what it lacks.',
      })
      .optional(),
  })
  .meta({ id: 'ReplicaDeploymentInfo' });

const master = z.object({ ...deployment, health: nodeHealth }).meta({ id: 'MasterDeploymentInfo' });

const nfs = z
  .object({
    exports: z.array(nfsExport).meta({ description: 'Empty: this version does not export volumes.' }),
    serviceEndpoint: z.string(),
  })
  .meta({ id: 'NfsConfig' });

export const volumeSchema = z
  .object({
    id: z.string(),
    name: z.string(),
    description: z.string(),
    attachedOn: z.string().meta({ description: 'Id of the node that shows the device; empty if there is none.' }),
    attachedOnHost: z.string().meta({ description: 'Name of that node.' }),
    nfs,
    namespaceID: z.string(),
    labels,
    fsType,
    attachmentType: z.enum(['unknown', 'detached', 'nfs', 'host']).meta({ id: 'AttachType' }),
    master,
    replicas: z.array(replica),
    sizeBytes: uint64('Size of the device.'),
    readOnly: z.boolean().meta({
      description: 'Writes are refused: fewer replicas are ready than its failure mode asks for. Reads are served.',
    }),
    ...changes,
  })
  .meta({ id: 'Volume' });
