import { describe, expect, it } from 'vitest';
import { parseDurationMs } from '../../../core/duration.js';
import { DomainError } from '../../../core/errors.js';
import { defaultCodecWorkers, formatEndpoint, parseEndpoint, readConfig } from '../../../node-agent/config.js';

const MINIMAL = {
  HOSTNAME: 'node-1',
  ADVERTISE_IP: '10.0.0.1',
  ETCD_ENDPOINTS: '10.0.0.9:2379,10.0.0.8:2379',
  TEMPORAL_ADDRESS: '10.0.0.9:7233',
  INTERNAL_TLS_CA_CERT: '/pki/ca.crt',
  INTERNAL_TLS_NODE_CERT: '/pki/node.crt',
  INTERNAL_TLS_NODE_KEY: '/pki/node.key',
  CLUSTER_KEY_FILE: '/secrets/cluster.key',
  KEY_DIR: '/secrets/volumes',
};

describe('configuration by environment', () => {
  it('has the documented defaults', () => {
    const config = readConfig(MINIMAL);
    expect(config.bind).toEqual({
      api: { host: '10.0.0.1', port: 5705 },
      io: { host: '10.0.0.1', port: 5703 },
      gossip: { host: '10.0.0.1', port: 5711 },
    });
    expect(config.rootDir).toBe('/var/lib/storageos');
    expect(config.deviceDir).toBe('/var/lib/storageos/volumes');
    expect(config.etcd).toEqual({ endpoints: ['10.0.0.9:2379', '10.0.0.8:2379'], namespace: 'storageos' });
    expect(config.replacementGraceMs).toBe(15_000);
    expect(config.controlRole).toBe(true);
  });

  it.each([
    [1, 0],
    [2, 0],
    [3, 0],
    [4, 2],
    [6, 3],
    [64, 4],
  ])('has on %i processors %i codec workers', (processors, workers) => {
    expect(defaultCodecWorkers(processors)).toBe(workers);
  });

  it('takes a certificate for the API with its key, or neither', () => {
    const tls = { API_TLS_CERT: '/c', API_TLS_KEY: '/k' };
    expect(readConfig({ ...MINIMAL, ...tls }).apiTls).toEqual({ cert: '/c', key: '/k' });
    for (const name of ['API_TLS_CERT', 'API_TLS_KEY'] as const) {
      expect(() => readConfig({ ...MINIMAL, [name]: tls[name] })).toThrow(/API_TLS_CERT and API_TLS_KEY/);
    }
  });

  it('takes 0 to 4 codec workers', () => {
    expect(readConfig({ ...MINIMAL, CODEC_WORKERS: '0' }).codecWorkers).toBe(0);
    expect(readConfig({ ...MINIMAL, CODEC_WORKERS: '4' }).codecWorkers).toBe(4);
    for (const wrong of ['5', '-1', '1.5', 'all']) {
      expect(() => readConfig({ ...MINIMAL, CODEC_WORKERS: wrong })).toThrow(/CODEC_WORKERS/);
    }
  });

  it('takes how many syncs go on at a time, and how fast, within bounds', () => {
    expect(readConfig(MINIMAL)).toMatchObject({ maxSyncs: 4, syncBytesPerSecond: 0 });
    const few = readConfig({ ...MINIMAL, SYNCS_PER_NODE: '1', SYNC_BYTES_PER_SECOND: '1000000' });
    expect(few).toMatchObject({ maxSyncs: 1, syncBytesPerSecond: 1_000_000 });
    expect(() => readConfig({ ...MINIMAL, SYNCS_PER_NODE: '0' })).toThrow(/SYNCS_PER_NODE/);
    expect(() => readConfig({ ...MINIMAL, SYNC_BYTES_PER_SECOND: '100' })).toThrow(/SYNC_BYTES_PER_SECOND/);
  });

  it('takes how fast to scrub, within bounds', () => {
    expect(readConfig(MINIMAL)).toMatchObject({ scrubIntervalMs: 7 * 86_400_000, scrubBytesPerSecond: 20 << 20 });
    const fast = readConfig({ ...MINIMAL, SCRUB_INTERVAL: '2s', SCRUB_BYTES_PER_SECOND: '1000000' });
    expect(fast).toMatchObject({ scrubIntervalMs: 2_000, scrubBytesPerSecond: 1_000_000 });
    expect(() => readConfig({ ...MINIMAL, SCRUB_INTERVAL: '10ms' })).toThrow(/SCRUB_INTERVAL/);
    expect(() => readConfig({ ...MINIMAL, SCRUB_BYTES_PER_SECOND: '0' })).toThrow(/SCRUB_BYTES_PER_SECOND/);
  });

  it('takes how much memory indexes may have, from 8 MiB on', () => {
    expect(readConfig(MINIMAL).indexCacheBytes).toBe(64 << 20);
    expect(readConfig({ ...MINIMAL, INDEX_CACHE_BYTES: '8388608' }).indexCacheBytes).toBe(8 << 20);
    expect(() => readConfig({ ...MINIMAL, INDEX_CACHE_BYTES: '8388607' })).toThrow(/INDEX_CACHE_BYTES/);
  });

  it('takes KV_BACKEND and KV_ADDR for an external etcd', () => {
    const { ETCD_ENDPOINTS: _, ...rest } = MINIMAL;
    expect(readConfig({ ...rest, KV_BACKEND: 'etcd', KV_ADDR: 'kv:2379' }).etcd.endpoints).toEqual(['kv:2379']);
    expect(() => readConfig({ ...rest, KV_BACKEND: 'etcd' })).toThrow(/KV_ADDR/);
    expect(() => readConfig(rest)).toThrow(/ETCD_ENDPOINTS/);
  });

  it('names every variable that is missing or wrong, and no value', () => {
    const error = (() => {
      try {
        readConfig({ ...MINIMAL, ADVERTISE_IP: 'nowhere', BOOTSTRAP_PASSWORD: 'short', CONTROL_ROLE: 'maybe' });
      } catch (caught) {
        return caught as DomainError;
      }
      return undefined;
    })();
    expect(error).toBeInstanceOf(DomainError);
    expect(error?.code).toBe('invalid');
    for (const name of ['ADVERTISE_IP', 'BOOTSTRAP_PASSWORD', 'CONTROL_ROLE']) expect(error?.message).toContain(name);
    expect(error?.message).not.toContain('short"');
  });

  it.each([
    ['127.0.0.1:80', { host: '127.0.0.1', port: 80 }],
    ['[::1]:80', { host: '::1', port: 80 }],
    ['host', { host: 'host', port: 5705 }],
  ])('reads the address %s', (text, expected) => {
    const endpoint = parseEndpoint(text, 5705);
    expect(endpoint).toEqual(expected);
    expect(parseEndpoint(formatEndpoint(endpoint))).toEqual(expected);
  });

  it.each(['', ':80', 'a:b', 'host:70000', '::1', 'a:1:2'])('refuses the address "%s"', (text) => {
    expect(() => parseEndpoint(text, 1)).toThrow(DomainError);
  });
});

describe('durations', () => {
  it.each([
    ['0', 0],
    ['300ms', 300],
    ['1.5h', 5_400_000],
    ['2h45m', 9_900_000],
    ['1m30s', 90_000],
    ['250us', 0.25],
    ['.5s', 500],
  ])('%s is %d ms', (text, ms) => expect(parseDurationMs(text)).toBeCloseTo(ms));

  it.each(['', '5', 's', '-5s', '5 s', '1d', 'NaNs', '1e3s', `${'1'.repeat(80)}s`])('refuses "%s"', (text) => {
    expect(() => parseDurationMs(text)).toThrow(DomainError);
  });
});
