/** A filesystem on a volume of a test's cluster, on the node that the volume is attached to. */

import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ApiVolume } from '../../client/types.js';
import type { NodeFacts } from '../../cluster/facts.js';
import { mountsBelow, mountVolume, waitForDevice } from '../../cluster/volumes.js';
import { unmountPath } from '../../node-agent/attach/filesystem.js';
import { TOOL_PATH } from '../../node-agent/attach/run.js';
import type { TestCluster } from './test-cluster.js';

export type CheckedFsType = 'ext4' | 'xfs';

const run = promisify(execFile);
const COMMAND_TIMEOUT_MS = 120_000;

export class MountedVolume {
  readonly mountPoint: string;
  readonly volume: ApiVolume;
  readonly node: NodeFacts;
  readonly #test: TestCluster;
  readonly #fsType: CheckedFsType;

  constructor(test: TestCluster, volume: ApiVolume, node: NodeFacts, fsType: CheckedFsType) {
    this.#test = test;
    this.volume = volume;
    this.node = node;
    this.#fsType = fsType;
    this.mountPoint = join(test.cluster.dataDir.mountDir, volume.name);
  }

  /** Attached, made if the volume is blank, mounted: its journal is replayed by that. */
  async mount(): Promise<void> {
    await this.#test.attach(this.volume, this.node);
    await mountVolume(await waitForDevice(this.node, this.volume.id), this.#fsType, this.mountPoint);
  }

  async unmount(): Promise<void> {
    await unmountPath(this.mountPoint);
  }

  /** Whatever uses it: its device is gone. An agent that comes back does the same. */
  async abandon(): Promise<void> {
    if (!mountsBelow(this.mountPoint).includes(this.mountPoint)) return;
    await run('umount', ['--lazy', this.mountPoint], { timeout: COMMAND_TIMEOUT_MS });
  }

  /** Unmounted, checked, mounted again. Rejects with what the checker says unless it finds the filesystem clean. */
  async check(): Promise<void> {
    await this.unmount();
    const device = await waitForDevice(this.node, this.volume.id);
    const [command, ...args] = this.#fsType === 'ext4' ? ['e2fsck', '-f', '-n', device] : ['xfs_repair', '-n', device];
    await run(command!, args, { timeout: COMMAND_TIMEOUT_MS, env: { ...process.env, PATH: TOOL_PATH } }).catch(
      (error: Error & { stdout?: string; stderr?: string }) => {
        throw new Error(`${command} ${args.join(' ')}: ${error.message}\n${error.stdout}\n${error.stderr}`);
      },
    );
    await this.mount();
  }
}
