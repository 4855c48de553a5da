/** What applications see of the volumes that are attached to this node. */

import type { Registry } from 'prom-client';
import type { FrontendStats, OperationKind } from '../frontend/stats.js';
import { type OfVolume, VolumeMetrics, type VolumeNames } from './volumes.js';

export interface FrontendSources extends VolumeNames {
  readonly attached: () => readonly (OfVolume & { readonly stats: FrontendStats })[];
}

const KINDS: readonly OperationKind[] = ['read', 'write', 'trim', 'flush'];

export function registerFrontendMetrics(registry: Registry, sources: FrontendSources): void {
  const metrics = new VolumeMetrics(registry, sources, 'presentation', sources.attached);
  for (const kind of KINDS) {
    metrics.counter(
      `frontend_${kind}_total`,
      `${kind} operations that were answered`,
      ({ stats }) => stats[kind].operations,
    );
    metrics.counter(
      `frontend_${kind}_error_total`,
      `${kind} operations that failed`,
      ({ stats }) => stats[kind].errors,
    );
    metrics.histogram(
      `frontend_${kind}_seconds`,
      `time from the arrival of ${kind} requests to their answers`,
      ({ stats }) => stats[kind].latency,
    );
    if (kind === 'flush') continue;
    metrics.counter(
      `frontend_${kind}_bytes_total`,
      `bytes of ${kind} operations that succeeded`,
      ({ stats }) => stats[kind].bytes,
    );
  }
}
