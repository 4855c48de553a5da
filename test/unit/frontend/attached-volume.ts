/** A volume that is attached to this process: FrontendHost and codec as in an agent, the primary in memory. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Volume } from '../../../core/domain.js';
import { DEFAULT_FRONTEND_SETTINGS } from '../../../core/frontend/settings.js';
import type { AttentionReason } from '../../../core/frontend/volume-frontend.js';
import type { Generation, NamespaceId, VolumeId } from '../../../core/types.js';
import { systemClock, systemRandom } from '../../../node-agent/clock.js';
import { type Codec, type CodecOptions, loadCodec } from '../../../node-agent/codec/index.js';
import { type AttachedVolume, FrontendHost } from '../../../node-agent/frontend/host.js';
import { membership, placements } from './fakes.js';
import { MemoryPrimary } from './memory-primary.js';

export function testVolume(options: Partial<Volume> & { id: VolumeId }): Volume {
  return {
    namespace: '22222222-2222-4222-8222-222222222222' as NamespaceId,
    name: 'test',
    description: '',
    labels: {},
    sizeBytes: 64 << 20,
    blockSize: 4096,
    fsType: 'ext4',
    replicas: 0,
    failureMode: { kind: 'hard' },
    durability: 'writeback',
    compression: true,
    encryption: false,
    phase: 'ready',
    placements,
    createdAt: '2024-01-01T00:00:00Z',
    updatedAt: '2024-01-01T00:00:00Z',
    ...options,
  };
}

export interface World {
  readonly directory: string;
  readonly host: FrontendHost;
  readonly codec: Codec;
  /** The volume's primary; made when it is first asked for. */
  primaryOf(volume: VolumeId): MemoryPrimary;
  readonly attention: AttentionReason[];
  readonly logged: (Readonly<Record<string, unknown>> & { readonly message: string })[];
  attach(
    volume: Volume,
    options?: { readOnly?: boolean; key?: Uint8Array; generation?: number },
  ): Promise<AttachedVolume>;
  close(): Promise<void>;
}

export async function openWorld(codecOptions: CodecOptions = {}): Promise<World> {
  const codec = await loadCodec(codecOptions);
  const directory = await mkdtemp(join(tmpdir(), 'fe-'));
  const primaries = new Map<VolumeId, MemoryPrimary>();
  const primaryOf = (volume: VolumeId): MemoryPrimary => {
    const primary = primaries.get(volume) ?? new MemoryPrimary();
    primaries.set(volume, primary);
    return primary;
  };
  const attention: AttentionReason[] = [];
  const logged: World['logged'] = [];
  const host = await FrontendHost.open({
    socketDir: join(directory, 's'),
    stateDir: join(directory, 'state'),
    codec,
    connector: { connect: (target, events) => primaryOf(target.volume).connect(target, events) },
    membership: () => ({ record: membership(1, 0), placements }),
    clock: systemClock,
    random: systemRandom,
    // Short, so that what goes wrong ends before the test's patience does.
    settings: { ...DEFAULT_FRONTEND_SETTINGS, deviceTimeoutMs: 20_000 },
    events: {
      attention: (_, reason) => attention.push(reason),
      fenced: () => undefined,
      log: (_, message, fields) => logged.push({ message, ...fields }),
    },
  });
  return {
    directory,
    host,
    codec,
    primaryOf,
    attention,
    logged,
    attach: (volume, { generation = 1, ...options } = {}) => host.attach(volume, generation as Generation, options),
    close: async () => {
      await host.close();
      await codec.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
