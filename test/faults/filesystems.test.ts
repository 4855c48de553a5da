/** ext4 and xfs on a volume while its primary, its consumer's agent and all agents are killed: fsck, and every synced file. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { noDeviceReason } from '../../cluster/volumes.js';
import { FsyncWorkload } from '../setup/fsync-workload.js';
import { type CheckedFsType, MountedVolume } from '../setup/mounted-volume.js';
import { TestCluster } from '../setup/test-cluster.js';

const FILES = 40;
const reason = noDeviceReason();
if (reason !== undefined) console.warn(`filesystems on volumes are not tested: ${reason}`);

describe.skipIf(reason !== undefined)('a filesystem on a volume', () => {
  let test: TestCluster;
  beforeAll(async () => {
    test = await TestCluster.start();
  });
  afterAll(async () => {
    await test?.destroy();
  });

  it.each<CheckedFsType>(['ext4', 'xfs'])('%s keeps every file that was synced', async (fsType) => {
    const volume = await test.createVolume(`on-${fsType}`, 1);
    const mounted = new MountedVolume(test, volume, test.bystander(volume), fsType);
    await mounted.mount();

    // The primary's death is a pause.
    let writer = new FsyncWorkload(mounted.mountPoint);
    await writer.more(FILES);
    const primary = test.nodeOf(volume.master.nodeID);
    await test.cluster.killNode(primary.name);
    await writer.more(FILES);
    await test.cluster.startNode(primary.name);

    // The death of the agent that serves the device is its filesystem's end.
    await writer.more(FILES);
    await test.cluster.killNode(mounted.node.name);
    expect(await writer.ended).toBe(3);
    await mounted.abandon();
    await test.cluster.startNode(mounted.node.name);
    await mounted.mount();
    await mounted.check();
    expect(await writer.problems()).toEqual([]);

    // And everything at once.
    writer = new FsyncWorkload(mounted.mountPoint, writer.synced);
    await writer.more(FILES);
    await test.killAll();
    await writer.ended;
    await mounted.abandon();
    await test.startAll();
    await test.untilReady(volume, 1);
    await mounted.mount();
    await mounted.check();
    expect(await writer.problems()).toEqual([]);
    await mounted.unmount();
    expect(await test.verify(volume)).toMatchObject({ identical: true });
    await test.cluster.api.detach(volume);
  });
});
