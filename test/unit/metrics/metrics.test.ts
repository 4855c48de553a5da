import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import type { DeploymentStatus } from '../../../core/messages.js';
import type { VolumeId } from '../../../core/types.js';
import { newFrontendStats } from '../../../node-agent/frontend/stats.js';
import { MAX_VOLUMES_WITH_SERIES, type MetricSources, registerMetrics } from '../../../node-agent/metrics/index.js';
import { aVolume } from '../../setup/records.js';

const volume = aVolume({ name: 'data' });

const sources = (patch: Partial<MetricSources> = {}): MetricSources => ({
  volume: (id) => (id === volume.id ? volume : undefined),
  namespaceName: () => 'default',
  attached: () => [],
  deployments: () => [],
  capacity: () => ({ totalBytes: 1000, freeBytes: 400 }),
  stateReachable: () => true,
  codec: { engine: 'wasm', offloadBytes: 32_768 },
  ...patch,
});

function createMetrics(from: MetricSources): Registry {
  const registry = new Registry();
  registerMetrics(registry, from);
  return registry;
}

const labels = (type: string) =>
  `{namespace="default",pool="default",type="${type}",volume_id="${volume.id}",volume_name="data"}`;

describe('metrics', () => {
  it('follow the counters of the frontends and forget volumes that were detached', async () => {
    const stats = newFrontendStats();
    const attached = [{ volume: volume.id, stats }];
    const registry = createMetrics(sources({ attached: () => attached }));
    Object.assign(stats.write, { operations: 3, bytes: 4096, errors: 1, seconds: 0.5 });
    const first = await registry.metrics();
    expect(first).toContain(`storageos_volume_frontend_write_bytes_total${labels('presentation')} 4096`);
    expect(first).toContain(`storageos_volume_frontend_write_error_total${labels('presentation')} 1`);
    stats.write.bytes = 8192;
    expect(await registry.metrics()).toContain(`frontend_write_bytes_total${labels('presentation')} 8192`);
    attached.length = 0;
    expect(await registry.metrics()).not.toContain(volume.id);
  });

  it('say who does AES and which requests go to worker threads', async () => {
    const text = await createMetrics(sources()).metrics();
    expect(text).toContain('storageos_codec_info{engine="wasm"} 1');
    expect(text).toContain('storageos_codec_offload_bytes 32768');
    const without = createMetrics(sources({ codec: { engine: 'native', offloadBytes: Number.POSITIVE_INFINITY } }));
    expect(await without.metrics()).toContain('storageos_codec_info{engine="native"} 1');
    expect(await without.metrics()).toContain('storageos_codec_offload_bytes +Inf');
  });

  it('show copies, node and process', async () => {
    const status = {
      role: 'primary',
      serving: true,
      unclean: false,
      promised: 4,
      usedBytes: 77,
      last: { sequence: 9 },
    };
    const deployments = () => [{ volume: volume.id, status: status as unknown as DeploymentStatus }];
    const text = await createMetrics(sources({ deployments })).metrics();
    expect(text).toContain(`storageos_volume_utilisation_apparent_bytes${labels('deployment')} 77`);
    expect(text).toContain(`storageos_volume_capacity_bytes${labels('deployment')} ${volume.sizeBytes}`);
    expect(text).toContain('storageos_node_device_free_bytes 400');
    expect(text).toContain('storageos_node_volumes_total 1');
    expect(text).toMatch(/storageos_control_process_resident_memory_bytes \d+/);
  });

  it('are bounded in number', async () => {
    const attached = Array.from({ length: MAX_VOLUMES_WITH_SERIES + 5 }, (_, i) => ({
      volume: `volume-${i}` as VolumeId,
      stats: newFrontendStats(),
    }));
    const text = await createMetrics(sources({ attached: () => attached })).metrics();
    expect(text.match(/^storageos_volume_frontend_read_total\{/gm)).toHaveLength(MAX_VOLUMES_WITH_SERIES);
    expect(text).toContain(`storageos_node_attached_volumes_total ${MAX_VOLUMES_WITH_SERIES + 5}`);
  });
});
