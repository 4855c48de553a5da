/** Before all tests: a place for what is temporary; etcd and the Temporal server are found, and the tests told where (ETCD_PATH, TEMPORAL_PATH). */

import { ensureBinaries } from '../../cluster/binaries.js';
import { showStep } from '../../cluster/progress.js';
import { provideScratch } from './scratch.js';

export default async function setup(): Promise<void> {
  provideScratch();
  const { etcd, temporal } = await ensureBinaries({ names: ['etcd', 'temporal'], step: showStep });
  process.env.ETCD_PATH = etcd.path;
  process.env.TEMPORAL_PATH = temporal.path;
}
