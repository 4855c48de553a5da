import { setCurrentDetails } from '@temporalio/workflow';
import type { LostVolumeReport, RecoveryReport } from '../core/controller.js';
import { awaitServing, recoverLostVolume, recoverMembership } from './calls.js';
import type { RecoverVolumeInput } from './names.js';
import { SERVING_TIMEOUT_MS } from './options.js';

/**
 * Makes the membership of a volume anew from what its copies know, or all its records: etcd was restored from an older
 * snapshot, or replaced. Resolves when a primary serves under the new record, or when its time to do so is over.
 */
export async function RecoverVolume({
  volume,
  acceptLoss,
  lost,
}: RecoverVolumeInput): Promise<RecoveryReport | LostVolumeReport> {
  setCurrentDetails('Asking all nodes what their copies know');
  const report =
    lost === undefined
      ? await recoverMembership({ volume, acceptLoss })
      : await recoverLostVolume({ volume, acceptLoss, ...lost });
  if (!report.recovered || report.epoch === undefined) {
    setCurrentDetails('Nothing to do: etcd knows all that the copies know');
    return report;
  }
  setCurrentDetails(`Membership written with epoch ${report.epoch}, primary on node ${report.primary?.node}: waiting`);
  const serving = await awaitServing({ volume, epoch: report.epoch, timeoutMs: SERVING_TIMEOUT_MS });
  setCurrentDetails(serving ? 'The primary serves' : 'The primary does not serve yet; the volume workflow goes on');
  return report;
}
