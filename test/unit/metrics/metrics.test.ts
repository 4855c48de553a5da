import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import type { FrontendMessage, SessionMessage } from '../../../core/messages.js';
import type { SessionChannel, SessionConnector, SessionEvents } from '../../../core/ports.js';
import type { DeploymentId, NodeId, VolumeId } from '../../../core/types.js';
import { newFrontendStats } from '../../../node-agent/frontend/stats.js';
import { MeteredDisk } from '../../../node-agent/metrics/disk.js';
import { type MetricSources, registerMetrics } from '../../../node-agent/metrics/index.js';
import { LATENCY_BOUNDS_S, LatencyHistogram } from '../../../node-agent/metrics/latency.js';
import { MeteredConnector } from '../../../node-agent/metrics/network.js';
import { MAX_COMBINATIONS, Tally } from '../../../node-agent/metrics/tally.js';
import { MAX_VOLUMES_WITH_SERIES } from '../../../node-agent/metrics/volumes.js';
import { openFileDisk } from '../../../node-agent/store/index.js';
import { metricSources, volume } from './sources.js';

async function scrape(patch: Partial<MetricSources> = {}): Promise<string> {
  const registry = new Registry();
  registerMetrics(registry, metricSources(patch));
  return registry.metrics();
}

const labels = (type: string, first = '') =>
  `{${first}namespace="default",pool="default",type="${type}",volume_id="${volume.id}",volume_name="data"}`;

describe('metrics', () => {
  it('follow the counters of the frontends and forget volumes that were detached', async () => {
    const stats = newFrontendStats();
    const attached = [{ volume: volume.id, stats }];
    const registry = new Registry();
    registerMetrics(
      registry,
      metricSources({ attached: () => attached, copies: () => [], statistics: () => [], backends: () => [] }),
    );
    Object.assign(stats.write, { operations: 3, bytes: 4096, errors: 1 });
    stats.write.latency.observe(0.0007);
    stats.write.latency.observe(99);
    const first = await registry.metrics();
    expect(first).toContain(`storageos_volume_frontend_write_bytes_total${labels('presentation')} 4096`);
    expect(first).toContain(`storageos_volume_frontend_write_error_total${labels('presentation')} 1`);
    const bucket = (le: string) =>
      `storageos_volume_frontend_write_seconds_bucket${labels('presentation', `le="${le}",`)}`;
    expect(first).toContain(`${bucket('0.0005')} 0\n`);
    expect(first).toContain(`${bucket('0.001')} 1\n`);
    expect(first).toContain(`${bucket('30')} 1\n`);
    expect(first).toContain(`${bucket('+Inf')} 2\n`);
    expect(first).toContain(`storageos_volume_frontend_write_seconds_count${labels('presentation')} 2`);
    expect(first).toContain(`storageos_volume_frontend_write_seconds_sum${labels('presentation')} 99.0007`);
    stats.write.bytes = 8192;
    expect(await registry.metrics()).toContain(`frontend_write_bytes_total${labels('presentation')} 8192`);
    attached.length = 0;
    expect(await registry.metrics()).not.toContain(volume.id);
  });

  it('say who does AES and which requests go to worker threads', async () => {
    const text = await scrape();
    expect(text).toContain('storageos_codec_info{engine="wasm"} 1');
    expect(text).toContain('storageos_codec_offload_bytes 32768');
    const memory = { totalBytes: 1, freeBytes: 1 };
    const without = await scrape({ codec: { engine: 'native', offloadBytes: Number.POSITIVE_INFINITY, memory } });
    expect(without).toContain('storageos_codec_info{engine="native"} 1');
    expect(without).toContain('storageos_codec_offload_bytes +Inf');
    expect(text).toContain('storageos_codec_memory_bytes 65536');
    expect(text).toContain('storageos_codec_memory_free_bytes 49152');
  });

  it.each([
    [`storageos_volume_utilisation_apparent_bytes${labels('deployment')} 77`],
    [`storageos_volume_capacity_bytes${labels('deployment')} ${volume.sizeBytes}`],
    [`storageos_volume_replication_lag_writes${labels('deployment')} 3`],
    [`storageos_volume_replication_activations_total${labels('deployment')} 2`],
    [`storageos_volume_replicas_ready${labels('deployment')} 1`],
    [`storageos_volume_replicas_wanted${labels('deployment')} 2`],
    [`storageos_volume_sync_blocks_done${labels('deployment')} 2`],
    [`storageos_volume_backend_write_bytes_total${labels('deployment')} 4`],
    [`storageos_volume_scrub_progress_ratio${labels('deployment')} 0.5`],
    [`storageos_volume_scrub_last_pass_timestamp_seconds${labels('deployment')} 1700000000.5`],
    [`storageos_volume_scrub_damages_total${labels('deployment')} 2`],
    [`storageos_volume_cleaner_copied_bytes_total${labels('deployment')} 30`],
    ['storageos_node_data_directory_used_bytes{directory="data/dev1"} 77'],
    ['storageos_node_device_free_bytes 400'],
    ['storageos_node_volumes_total 1'],
    ['storageos_gossip_members{status="dead"} 1'],
    ['storageos_local_leader_known_nodes_total 3'],
    ['storageos_local_leader_detected_node_failed_total 1'],
    ['storageos_store_reachable 1'],
  ])('show %s', async (line) => {
    expect(await scrape()).toContain(`${line}\n`);
  });

  it('show the process as the kernel sees it, and none that is not there', async () => {
    const text = await scrape();
    const value = (name: string) => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1]);
    expect(value('storageos_dataplane_process_resident_memory_bytes')).toBeGreaterThan(10e6);
    expect(value('storageos_dataplane_process_threads_total')).toBeGreaterThan(1);
    expect(value('storageos_dataplane_process_open_fds')).toBeGreaterThan(3);
    expect(value('storageos_dataplane_process_cpu_seconds_total')).toBeGreaterThan(0);
    const age = Date.now() / 1000 - value('storageos_dataplane_process_start_time_seconds');
    expect(Math.abs(age - process.uptime())).toBeLessThan(5);
    expect(text).not.toMatch(/^storageos_control_process_/m);
    expect(text).toMatch(/^storageos_nodejs_eventloop_lag_p99_seconds /m);
  });

  it('count requests, activities and calls of etcd by what they were and how they ended', async () => {
    const requests = new Tally('operation', 'status');
    requests.observe(0.02, { operation: 'listNodes', status: '200' });
    requests.observe(0.03, { operation: 'listNodes', status: '200' });
    requests.observe(0.01, { operation: 'listNodes', status: '401' });
    const text = await scrape({ requests });
    expect(text).toContain('storageos_api_request_seconds_count{operation="listNodes",status="200"} 2\n');
    expect(text).toContain('storageos_api_request_seconds_count{operation="listNodes",status="401"} 1\n');
    expect(text).toContain('storageos_api_request_seconds_bucket{le="0.025",operation="listNodes",status="200"} 1\n');
  });

  it('are bounded in number', async () => {
    const attached = Array.from({ length: MAX_VOLUMES_WITH_SERIES + 5 }, (_, i) => ({
      volume: `volume-${i}` as VolumeId,
      stats: newFrontendStats(),
    }));
    const text = await scrape({ attached: () => attached });
    expect(text.match(/^storageos_volume_frontend_read_total\{/gm)).toHaveLength(MAX_VOLUMES_WITH_SERIES);
    expect(text).toContain(`storageos_node_attached_volumes_total ${MAX_VOLUMES_WITH_SERIES + 5}`);
    const tally = new Tally('operation');
    for (let i = 0; i < MAX_COMBINATIONS + 5; i++) tally.observe(1, { operation: String(i) });
    expect([...tally.entries()]).toHaveLength(MAX_COMBINATIONS);
  });
});

describe('a histogram', () => {
  it('puts each time into the bucket whose bound it does not exceed', () => {
    const latency = new LatencyHistogram();
    for (const bound of LATENCY_BOUNDS_S) latency.observe(bound);
    latency.observe(0);
    latency.observe(1000);
    const inside = LATENCY_BOUNDS_S.map((_, i) => (i === 0 ? 2 : 1));
    expect([...latency.buckets]).toEqual([...inside, 1]);
    expect(latency.count).toBe(LATENCY_BOUNDS_S.length + 2);
  });
});

describe('traffic with primaries', () => {
  const SELF = 'here' as NodeId;
  const payload = (bytes: number) => ({ entries: Buffer.alloc(0), payload: Buffer.alloc(bytes) });
  const write = (request: number, bytes: number) =>
    ({ type: 'write', session: 1, request, fua: false, batch: payload(bytes) }) as unknown as FrontendMessage;
  const read = (request: number) =>
    ({ type: 'read', session: 1, request, block: 0, blocks: 1 }) as unknown as FrontendMessage;
  const message = (fields: object) => fields as unknown as SessionMessage;

  function connector() {
    const sent: FrontendMessage[] = [];
    const opened: SessionEvents[] = [];
    const inner: SessionConnector = {
      connect: (_target, events): SessionChannel => {
        opened.push(events);
        return { send: (each) => void sent.push(each), close: () => {} };
      },
    };
    return { sent, opened, metered: new MeteredConnector(inner, SELF) };
  }

  const target = (node: string) => ({ volume: volume.id, deployment: 'd' as DeploymentId, node: node as NodeId });

  it('is counted on the network only, with answers, errors and what was sent again', () => {
    const { sent, opened, metered } = connector();
    const answers: SessionMessage[] = [];
    const events: SessionEvents = { message: (each) => void answers.push(each), closed: () => {} };
    const first = metered.connect(target('there'), events);
    first.send(write(1, 100));
    first.send(read(2));
    opened[0]?.message(message({ type: 'written', request: 1, status: 'ok' }));
    opened[0]?.message(message({ type: 'data', request: 2, status: 'ok', batch: payload(40) }));
    first.send(write(3, 100));
    // The connection breaks: what was not answered is sent again.
    const second = metered.connect(target('there'), events);
    second.send(write(3, 100));
    opened[1]?.message(message({ type: 'written', request: 3, status: 'no-space' }));
    metered.connect(target(SELF), events).send(write(4, 100));
    expect(sent).toHaveLength(5);
    expect(answers).toHaveLength(3);
    expect(metered.stats([volume.id])).toEqual([
      {
        volume: volume.id,
        stats: {
          sessions: 2,
          write: { operations: 2, bytes: 300, errors: 1, retries: 1 },
          read: { operations: 1, bytes: 40, errors: 0, retries: 0 },
        },
      },
    ]);
    expect(metered.stats([])).toEqual([]);
  });
});

describe('the disk', () => {
  it('is counted by copies, and its syncs by their time', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'metered-'));
    try {
      const disk = new MeteredDisk(openFileDisk(directory));
      disk.makeDirectory('dev1');
      const open = (inode: number) => disk.open(`dev1/vol.${inode}.0.blob`, { create: true });
      const [one, two] = [open(1), open(2)];
      one.write([Buffer.alloc(100), Buffer.alloc(50)], 0);
      two.write([Buffer.alloc(7)], 0);
      await one.sync();
      const again = open(1);
      again.read(Buffer.alloc(30), 0);
      await one.readAsync(Buffer.alloc(1000), 0);
      for (const file of [one, two, again]) file.close();
      const of = (inode: number) => ({ volume: `v${inode}` as VolumeId, statistics: { inode } });
      expect(disk.copies([of(1), of(2), of(3)])).toEqual([
        { volume: 'v1', stats: { reads: 2, readBytes: 180, writes: 1, writtenBytes: 150 } },
        { volume: 'v2', stats: { reads: 0, readBytes: 0, writes: 1, writtenBytes: 7 } },
      ]);
      expect(disk.syncs.count).toBe(1);
      expect(disk.copies([of(2)])).toHaveLength(1);
      expect(disk.copies([of(1), of(2)])).toHaveLength(1);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
