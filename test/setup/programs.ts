/** Before all tests: finds etcd and the Temporal server, and tells the tests where they are (ETCD_PATH, TEMPORAL_PATH). */

import { ensureBinaries } from '../../cluster/binaries.js';
import { showStep } from '../../cluster/progress.js';

export default async function setup(): Promise<void> {
  const { etcd, temporal } = await ensureBinaries({ names: ['etcd', 'temporal'], step: showStep });
  process.env.ETCD_PATH = etcd.path;
  process.env.TEMPORAL_PATH = temporal.path;
}
