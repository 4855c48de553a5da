import { Registry } from 'prom-client';
import { expect, it } from 'vitest';
import { registerStoreMetrics } from '../../../node-agent/metrics/store.js';
import { aVolume } from '../../setup/records.js';
import { SimDisk } from '../../sim/sim-disk.js';
import { batchOf, data, epoch, newDeployment, openStores, seeded, sequence, VOLUME } from '../store/support.js';

it('the store tells of space, cleaner, scrub and checkpoints', async () => {
  const sim = new SimDisk({ random: seeded(1) });
  const stores = await openStores(sim.mount(), { reserveBytes: 4096, settings: { segmentBytes: 4096 } });
  const store = await stores.create(newDeployment);
  for (let i = 1; i <= 20; i++) {
    store.append({ epoch: epoch(1), firstSequence: sequence(i), batch: batchOf(data(i % 4, i, 1000)) });
  }
  while (store.scrubProgress.passes === 0) await store.scrub();
  const registry = new Registry();
  const volume = { ...aVolume({ name: 'data' }), id: VOLUME };
  registerStoreMetrics(registry, {
    volume: () => volume,
    namespaceName: () => 'default',
    capacity: () => stores.capacity(),
    devices: () => stores.devices(),
    throttled: () => true,
    index: () => stores.indexMemory,
    statistics: () => stores.statistics(),
  });
  const text = await registry.metrics();
  const labels = `{namespace="default",pool="default",type="deployment",volume_id="${VOLUME}",volume_name="data"}`;
  const { availableBytes } = stores.capacity();
  expect(text).toContain(`storageos_volume_store_live_bytes${labels} 4000\n`);
  expect(text).toContain(`storageos_volume_store_segments${labels} 7\n`);
  expect(text).toContain(`storageos_volume_scrub_passes_total${labels} 1\n`);
  expect(text).toContain(`storageos_volume_scrub_read_bytes_total${labels} 4000\n`);
  expect(text).toContain(`storageos_volume_bad_blocks${labels} 0\n`);
  expect(text).toContain('storageos_node_device_reserved_bytes 4096\n');
  expect(text).toContain(`storageos_node_device_available_bytes ${availableBytes}\n`);
  expect(text).toMatch(/storageos_node_data_directory_free_bytes\{directory="data\/dev1"\} \d+\n/);
  expect(text).toContain(`storageos_node_data_directory_used_bytes{directory="data/dev1"} ${store.usedBytes}\n`);
  expect(text).toContain('storageos_node_store_throttled 1\n');
  expect(text).toContain(`storageos_volume_utilisation_actual_bytes${labels} ${4 * 4096}\n`);
  expect(text).toContain(`storageos_node_index_limit_bytes ${64 * 2 ** 20}\n`);
  expect(text).toMatch(/storageos_node_index_memtable_bytes [1-9]\d*\n/);
  expect(text).toMatch(/# TYPE storageos_volume_cleaner_copied_bytes_total counter/);
  await stores.close();
  // A value is a copy's, and goes with it.
  expect(await registry.metrics()).not.toContain('store_live_bytes{');
});
