/**
 * Records a history of every workflow type, against which the replay tests hold later versions of the code:
 * `npm run record-histories [-- NAME]`, of all or of one. To be done when a workflow type is added. When a workflow changes its behaviour,
 * running ones must still replay: keep the old history, guard the change with `patched`, record the new one.
 */

import type { DeploymentId, Epoch, VolumeId } from '../../../core/types.js';
import { fenceNodeWorkflowId, volumeChildId, volumeWorkflowId } from '../../../workflows/names.js';
import { Harness, until } from './harness.js';
import { saveHistory } from './history-files.js';

const waitMs = 20_000;
const only = process.argv[2];

async function record(): Promise<void> {
  const harness = await Harness.start({ nodes: 3 });
  const { cluster, controller } = harness;
  const save = async (name: string, workflowId: string): Promise<void> => {
    if (only !== undefined && only !== name) return;
    const handle = harness.env.client.workflow.getHandle(workflowId);
    saveHistory(name, await handle.fetchHistory());
    console.log(`${name}: ${workflowId}`);
  };
  const child = (volume: VolumeId, operation: string, deployment?: DeploymentId) =>
    volumeChildId(volume, operation, deployment);
  const ended = (workflowId: string) =>
    until(`${workflowId} has ended`, async () => {
      const { status } = await harness.env.client.workflow.getHandle(workflowId).describe();
      return status.name !== 'RUNNING';
    });

  try {
    const failing = cluster.createVolume({ replicas: 5 });
    await controller.provision(failing, { waitMs }).catch(() => {});
    await save('ProvisionVolume-no-capacity', child(failing, 'provision'));

    const volume = await harness.volume({ replicas: 1, encryption: true });
    await save('ProvisionVolume', child(volume, 'provision'));
    const { primary } = cluster.record(volume);
    const [user] = [...cluster.nodes.values.keys()].filter((node) => node !== primary.node);
    await controller.attach(volume, user!, { waitMs });
    await save('AttachVolume', child(volume, 'attach'));
    await controller.verify(volume);
    await save('VerifyVolume', child(volume, 'verify'));
    const present = cluster.record(volume);
    const older = { ...present, epoch: (present.epoch - 1) as Epoch };
    cluster.memberships.values.set(volume, { value: older, version: 'of an older etcd' });
    await controller.recover(volume, { acceptLoss: false });
    await save('RecoverVolume', child(volume, 'recover'));

    cluster.write(volume, 100);
    await harness.kill(primary.node);
    await controller.fenceNode({ node: primary.node, reason: 'dead', detach: true });
    await ended(fenceNodeWorkflowId(primary.node));
    await save('FenceNode', fenceNodeWorkflowId(primary.node));
    await until('another primary', () => cluster.record(volume).primary.node !== primary.node);
    await until('only one copy', () => cluster.record(volume).inSync.length === 1);
    await until('a new copy', () => cluster.record(volume).inSync.length === 2);
    await ended(child(volume, 'rebuild'));
    await save('Failover', child(volume, 'failover'));
    await save('RebuildReplica', child(volume, 'rebuild'));
    const target = cluster.volumes.value(volume)?.placements.at(-1)?.deployment;
    await save('DeltaSync', child(volume, 'sync', target));

    harness.start(primary.node);
    await controller.look(volume, 'the old primary is back');
    await until('the old copy is gone', () => !cluster.copies.has(primary.deployment));
    await ended(child(volume, 'remove-replica', primary.deployment));
    await save('RemoveReplica', child(volume, 'remove-replica', primary.deployment));
    await controller.detach(volume, { waitMs });
    await save('DetachVolume', child(volume, 'detach'));
    await controller.remove(volume, { offline: false, waitMs });
    await save('DeleteVolume', child(volume, 'delete'));
    await ended(volumeWorkflowId(volume));
    await save('Volume', volumeWorkflowId(volume));

    const lost = await harness.volume({ replicas: 1 });
    cluster.lose(lost);
    await controller.recoverLost(lost, { acceptLoss: false, name: 'found' });
    await save('RecoverVolume-lost', child(lost, 'recover'));
  } finally {
    await harness.stop();
  }
}

await record();
