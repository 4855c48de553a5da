/** The request to change a volume's failure mode. */

import { z } from 'zod';
import { type FailureMode, MAX_REPLICAS, type Membership, type Volume } from '../../core/domain.js';
import { DomainError } from '../../core/errors.js';
import { mayChoose } from '../../core/failure-mode.js';
import { checkFailureMode, failureModeText, LABEL_FAILURE_MODE } from './labels.js';
import { optional, versionField, wholeNumber } from './request.js';
import { failureModeIntent } from './schemas/volume.js';

/** One of both; neither is a threshold of 0, which clients leave out. */
export const failureModeChange = z
  .object({
    mode: optional(failureModeIntent),
    failureThreshold: optional(wholeNumber.max(MAX_REPLICAS)),
    version: versionField,
  })
  .refine((body) => body.mode === undefined || body.failureThreshold === undefined, {
    error: 'give either mode or failureThreshold',
  });

export function requestedFailureMode(body: z.output<typeof failureModeChange>): FailureMode {
  return body.mode === undefined ? { kind: 'threshold', threshold: body.failureThreshold ?? 0 } : { kind: body.mode };
}

/**
 * The volume with another failure mode; the same object if it has it already.
 * Errors: 'conflict' (threshold above the number of replicas), 'invalid-state' (too few replicas are in sync now).
 */
export function chooseFailureMode(
  volume: Volume,
  membership: Membership | undefined,
  mode: FailureMode,
  updatedAt: string,
): Volume {
  const text = failureModeText(mode);
  if (failureModeText(volume.failureMode) === text && volume.labels[LABEL_FAILURE_MODE] === text) return volume;
  checkFailureMode(mode, volume.replicas);
  const ready = (membership?.inSync.length ?? 1) - 1;
  if (!mayChoose(mode, { target: volume.replicas, ready, lost: 0 })) {
    throw new DomainError(
      'invalid-state',
      `volume "${volume.name}" has "${ready}" of ${volume.replicas} replicas in sync: too few for failure mode "${text}"`,
    );
  }
  return { ...volume, failureMode: mode, labels: { ...volume.labels, [LABEL_FAILURE_MODE]: text }, updatedAt };
}
