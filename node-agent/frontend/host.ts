import { rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { Membership, Placement, Volume } from '../../core/domain.js';
import { DomainError } from '../../core/errors.js';
import { DEFAULT_FRONTEND_SETTINGS, type FrontendSettings } from '../../core/frontend/settings.js';
import { type AttentionReason, type FrontendStatus, VolumeFrontend } from '../../core/frontend/volume-frontend.js';
import type { Clock, Random, SessionConnector } from '../../core/ports.js';
import type { Generation, VolumeId } from '../../core/types.js';
import type { Codec, VolumeCodec } from '../codec/index.js';
import { volumesWithFile } from '../volume-files.js';
import { checkSocketPath, NbdServer } from './nbd-server.js';
import { SessionCounter } from './session-counter.js';
import type { FrontendStats } from './stats.js';
import { VolumeIo } from './volume-io.js';

export interface FrontendHostEvents {
  /** The volume's workflow should look. */
  attention(volume: VolumeId, reason: AttentionReason): void;
  /** A newer attachment was made elsewhere: all I/O of this one fails. It stays until `detach`. */
  fenced(volume: VolumeId): void;
  log(level: 'info' | 'warn', message: string, fields: Readonly<Record<string, unknown>>): void;
}

export interface AttachedVolume {
  readonly volume: VolumeId;
  readonly generation: Generation;
  readonly readOnly: boolean;
  readonly socketPath: string;
  /** `nbd+unix:///?socket=…` */
  readonly nbdUri: string;
  readonly connections: number;
  readonly frontend: FrontendStatus;
  readonly stats: FrontendStats;
}

export interface FrontendHostOptions {
  /** Where the NBD sockets are made; short, see `checkSocketPath`. */
  readonly socketDir: string;
  /** Where the session counter is kept. */
  readonly stateDir: string;
  readonly codec: Codec;
  readonly connector: SessionConnector;
  /** What is known of a volume at the moment that it is attached; afterwards `onMembership` tells. */
  readonly membership: (volume: VolumeId) => {
    readonly record: Membership | undefined;
    readonly placements: readonly Placement[];
  };
  readonly clock: Clock;
  readonly random: Random;
  readonly settings?: FrontendSettings;
  readonly events: FrontendHostEvents;
}

interface Attached {
  readonly generation: Generation;
  readonly readOnly: boolean;
  readonly frontend: VolumeFrontend;
  readonly codec: VolumeCodec;
  readonly server: NbdServer;
}

const SOCKET_SUFFIX = '.nbd.sock';
/** How long a detach waits for the last flush, so that an unreachable primary does not hold it up for ever. */
const DETACH_FLUSH_MS = 5_000;

/** The volumes that are attached to this node, each with its frontend and its NBD socket. */
export class FrontendHost {
  readonly #options: FrontendHostOptions;
  readonly #sessions: SessionCounter;
  readonly #attached = new Map<VolumeId, Attached>();
  /** Attach and detach of one volume happen one after the other. */
  readonly #turns = new Map<VolumeId, Promise<unknown>>();
  #closed = false;

  private constructor(options: FrontendHostOptions, sessions: SessionCounter) {
    this.#options = options;
    this.#sessions = sessions;
  }

  /** Errors: those of SessionCounter.open; of the file system, where the socket directory cannot be read. */
  static async open(options: FrontendHostOptions): Promise<FrontendHost> {
    await removeDeadSockets(options.socketDir);
    const sessions = await SessionCounter.open(join(options.stateDir, 'frontend-sessions'));
    return new FrontendHost(options, sessions);
  }

  /**
   * Opens the volume on this node; again with the same generation changes nothing, a higher one replaces the
   * frontend and cuts its clients off. `key`: XTS_KEY_BYTES for an encrypted volume; copied.
   *
   * Errors: DomainError 'stale-write' for a lower generation, 'invalid' for a missing key or a socket path
   * that is too long, 'internal' if the socket can't be made.
   */
  attach(
    volume: Volume,
    generation: Generation,
    options: { readonly key?: Uint8Array; readonly readOnly?: boolean } = {},
  ): Promise<AttachedVolume> {
    return this.#inTurn(volume.id, async () => {
      if (this.#closed) throw new DomainError('invalid-state', 'this node is shutting down');
      const existing = this.#attached.get(volume.id);
      if (existing !== undefined) {
        if (existing.generation === generation) return this.#describe(volume.id, existing);
        if (existing.generation > generation) {
          throw new DomainError('stale-write', `volume ${volume.id} is attached here with a newer generation`);
        }
        await this.#close(volume.id, existing, false);
      }
      if (volume.encryption && options.key === undefined) {
        throw new DomainError('invalid', `volume ${volume.id} is encrypted and its key is missing`);
      }
      const attached = await this.#open(volume, generation, options.readOnly ?? false, options.key);
      this.#attached.set(volume.id, attached);
      const { record, placements } = this.#options.membership(volume.id);
      attached.frontend.onMembership(record, placements);
      return this.#describe(volume.id, attached);
    });
  }

  /**
   * Closes the volume on this node: clients are cut off, what they were told is done is flushed. Nothing
   * happens if it is not attached, or attached with a higher generation than `generation`.
   */
  detach(volume: VolumeId, generation?: Generation): Promise<void> {
    return this.#inTurn(volume, async () => {
      const attached = this.#attached.get(volume);
      if (attached === undefined || (generation !== undefined && attached.generation > generation)) return;
      await this.#close(volume, attached, true);
    });
  }

  get(volume: VolumeId): AttachedVolume | undefined {
    const attached = this.#attached.get(volume);
    return attached === undefined ? undefined : this.#describe(volume, attached);
  }

  list(): AttachedVolume[] {
    return [...this.#attached].map(([volume, attached]) => this.#describe(volume, attached));
  }

  /** To be called on every change of a volume's membership or placements; ignored for what is not attached. */
  onMembership(volume: VolumeId, record: Membership | undefined, placements: readonly Placement[]): void {
    this.#attached.get(volume)?.frontend.onMembership(record, placements);
  }

  /** Detaches everything. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#attached.keys()].map((volume) => this.detach(volume)));
  }

  async #open(volume: Volume, generation: Generation, readOnly: boolean, key?: Uint8Array): Promise<Attached> {
    const { clock, random, connector, events } = this.#options;
    const socketPath = join(this.#options.socketDir, `${volume.id}${SOCKET_SUFFIX}`);
    checkSocketPath(socketPath);
    const log: FrontendHostEvents['log'] = (level, message, fields) =>
      events.log(level, message, { volume: volume.id, ...fields });
    const codec = this.#options.codec.openVolume({
      volume: volume.id,
      blockSize: volume.blockSize,
      compress: volume.compression,
      ...(key !== undefined && { key }),
    });
    const frontend = new VolumeFrontend({
      volume: {
        id: volume.id,
        blockSize: volume.blockSize,
        blocks: Math.ceil(volume.sizeBytes / volume.blockSize),
        writethrough: volume.durability === 'writethrough',
      },
      generation,
      session: () => this.#sessions.next(),
      connector,
      clock,
      random,
      settings: this.#options.settings ?? DEFAULT_FRONTEND_SETTINGS,
      events: {
        attention: (reason) => events.attention(volume.id, reason),
        fenced: () => events.fenced(volume.id),
        log,
      },
    });
    const device = new VolumeIo({
      frontend,
      codec,
      sizeBytes: volume.sizeBytes,
      blockSize: volume.blockSize,
      readOnly,
      offloadBytes: this.#options.codec.offloadBytes,
      onCodecError: (error) => log('warn', 'blocks cannot be encoded or decoded', { error: String(error) }),
    });
    try {
      const { memory } = this.#options.codec;
      const server = await NbdServer.listen({ socketPath, exportName: volume.id, device, memory, clock, log });
      return { generation, readOnly, frontend, codec, server };
    } catch (error) {
      await frontend.close();
      codec.close();
      throw error;
    }
  }

  async #close(volume: VolumeId, attached: Attached, flush: boolean): Promise<void> {
    await attached.server.close();
    // Of a volume that has never answered nothing was told to be done.
    if (flush && attached.frontend.status.sessionsOpened > 0) {
      let timer: ReturnType<Clock['after']> | undefined;
      const waited = new Promise<void>((resolve) => {
        timer = this.#options.clock.after(DETACH_FLUSH_MS, resolve);
      });
      await Promise.race([attached.frontend.flush(), waited]);
      timer?.cancel();
    }
    await attached.frontend.close();
    attached.codec.close();
    this.#attached.delete(volume);
  }

  #describe(volume: VolumeId, attached: Attached): AttachedVolume {
    const { generation, readOnly, server, frontend } = attached;
    const socketPath = server.socketPath;
    return {
      volume,
      generation,
      readOnly,
      socketPath,
      nbdUri: `nbd+unix:///?socket=${encodeURIComponent(socketPath).replaceAll('%2F', '/')}`,
      connections: server.connections,
      frontend: frontend.status,
      stats: server.stats,
    };
  }

  #inTurn<T>(volume: VolumeId, run: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(volume) ?? Promise.resolve();
    const turn = before.then(run, run);
    this.#turns.set(volume, turn);
    const forget = () => {
      if (this.#turns.get(volume) === turn) this.#turns.delete(volume);
    };
    turn.then(forget, forget);
    return turn;
  }
}

/** Of a process that was killed: of volumes, too, that are gone or attached elsewhere by now. */
async function removeDeadSockets(directory: string): Promise<void> {
  const left = await volumesWithFile(directory, SOCKET_SUFFIX);
  await Promise.all(
    left.map(async (volume) => {
      const path = join(directory, `${volume}${SOCKET_SUFFIX}`);
      if (await isDead(path)) await rm(path, { force: true });
    }),
  );
}

/** Whether nobody listens. */
function isDead(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(false);
    });
    socket.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code === 'ECONNREFUSED'));
  });
}
