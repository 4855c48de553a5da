import { setCurrentDetails } from '@temporalio/workflow';
import type { VerifyReport } from '../core/controller.js';
import type { VolumeId } from '../core/types.js';
import { verifyCopies } from './calls.js';

export interface VerifyVolumeInput {
  readonly volume: VolumeId;
}

/** Compares every block of all in-sync copies, with orders and checksums. */
export async function VerifyVolume({ volume }: VerifyVolumeInput): Promise<VerifyReport> {
  setCurrentDetails('Comparing the copies; progress: the heartbeat of verifyCopies');
  const report = await verifyCopies({ volume });
  setCurrentDetails(
    report.identical
      ? `${report.deployments.length} copies are identical`
      : `${report.differingBlocks} blocks differ; the first is ${report.differences[0]?.block}`,
  );
  return report;
}
