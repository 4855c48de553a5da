/** How volumes are named in metrics, and how many of them have series of their own. */

import type { Registry } from 'prom-client';
import type { Volume } from '../../core/domain.js';
import type { VolumeId } from '../../core/types.js';
import type { LatencyHistogram } from './latency.js';
import { registerHistogram, registerSampled } from './sampled.js';

/** Volumes that get series of their own; the others of a node beyond them are counted only in its totals. */
export const MAX_VOLUMES_WITH_SERIES = 1000;

/** `presentation`: where the volume is used; `deployment`: where a copy of it is. */
export type SeriesType = 'presentation' | 'deployment';

export interface VolumeNames {
  readonly volume: (id: VolumeId) => Volume | undefined;
  readonly namespaceName: (id: Volume['namespace']) => string;
}

export const VOLUME_LABELS = ['namespace', 'pool', 'type', 'volume_id', 'volume_name'] as const;
export type VolumeLabels = Readonly<Record<(typeof VOLUME_LABELS)[number], string>>;

/** Pools are StorageOS's; volumes of this system are in none but this. */
const POOL = 'default';

export function volumeLabels(names: VolumeNames, id: VolumeId, type: SeriesType): VolumeLabels {
  const volume = names.volume(id);
  return {
    namespace: volume === undefined ? '' : names.namespaceName(volume.namespace),
    pool: POOL,
    type,
    volume_id: id,
    volume_name: volume?.name ?? '',
  };
}

export interface OfVolume {
  readonly volume: VolumeId;
}

/** Metrics of one kind of thing of which there is one for each volume. */
export class VolumeMetrics<T extends OfVolume> {
  readonly #registry: Registry;
  readonly #names: VolumeNames;
  readonly #type: SeriesType;
  readonly #list: () => readonly T[];

  constructor(registry: Registry, names: VolumeNames, type: SeriesType, list: () => readonly T[]) {
    this.#registry = registry;
    this.#names = names;
    this.#type = type;
    this.#list = list;
  }

  counter(name: string, help: string, read: (item: T) => number | undefined): void {
    this.#sampled('counter', name, help, read);
  }

  gauge(name: string, help: string, read: (item: T) => number | undefined): void {
    this.#sampled('gauge', name, help, read);
  }

  histogram(name: string, help: string, read: (item: T) => LatencyHistogram): void {
    registerHistogram(this.#registry, {
      name: `storageos_volume_${name}`,
      help,
      labels: VOLUME_LABELS,
      read: () => this.#items().map((item) => ({ labels: this.#labels(item), latency: read(item) })),
    });
  }

  #sampled(type: 'counter' | 'gauge', name: string, help: string, read: (item: T) => number | undefined): void {
    registerSampled(this.#registry, {
      name: `storageos_volume_${name}`,
      help,
      type,
      labels: VOLUME_LABELS,
      read: () =>
        this.#items().flatMap((item) => {
          const value = read(item);
          return value === undefined ? [] : [{ labels: this.#labels(item), value }];
        }),
    });
  }

  #items(): readonly T[] {
    return this.#list().slice(0, MAX_VOLUMES_WITH_SERIES);
  }

  #labels({ volume }: T): VolumeLabels {
    return volumeLabels(this.#names, volume, this.#type);
  }
}
