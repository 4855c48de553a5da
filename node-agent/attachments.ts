/**
 * The volumes that etcd says are attached to this node: each has a frontend and, where this machine can make
 * one, a block device. What etcd moved elsewhere is closed here.
 */

import type { Attachment, Volume } from '../core/domain.js';
import type { Clock } from '../core/ports.js';
import type { Generation, NodeId, VolumeId } from '../core/types.js';
import type { FrontendHost } from './frontend/host.js';
import type { KeyStore } from './keys/index.js';
import type { Logger } from './log.js';

/** Block devices of this machine (node-agent/attach). */
export interface Devices {
  /** Why this machine cannot make any; undefined if it can. */
  readonly unsupported: string | undefined;
  /** Path of the volume's device, made if there is none. DomainError 'invalid-state' where none can be made. */
  present(volume: VolumeId, socketPath: string, options: { readonly readOnly: boolean }): Promise<string>;
  /** Nothing happens if there is none. DomainError 'in-use' while it is mounted. */
  withdraw(volume: VolumeId): Promise<void>;
  /** Writes out what the kernel holds of it, whoever uses it. Errors: CommandError. */
  sync(volume: VolumeId): Promise<void>;
  /** Nothing is made any more. Returns the volumes whose devices are being made: the kernel waits for them. */
  stop(): readonly VolumeId[];
}

export interface OpenedVolume {
  readonly nbdUri: string;
  readonly device?: string;
}

export interface NodeAttachmentsOptions {
  readonly self: NodeId;
  readonly frontends: FrontendHost;
  readonly devices: Devices;
  readonly keys: KeyStore;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A device that is mounted although its volume is attached elsewhere is tried again after so long. */
const CLOSE_RETRY_MS = 5_000;

export class NodeAttachments {
  readonly #options: NodeAttachmentsOptions;
  /** What is being closed as it is attached elsewhere, or nowhere. */
  readonly #outdated = new Map<VolumeId, Generation>();
  #closed = false;

  constructor(options: NodeAttachmentsOptions) {
    this.#options = options;
  }

  /**
   * Opens frontend and device; again with the same generation changes nothing. Errors: DomainError, 'invalid-state' at
   * the agent's end; KeyError.
   */
  async open(volume: Volume, attachment: Attachment): Promise<OpenedVolume> {
    const { frontends, devices, keys } = this.#options;
    const readOnly = attachment.mode === 'ro';
    const key = volume.encryption ? await keys.load(volume.id) : undefined;
    try {
      const { nbdUri, socketPath } = await frontends.attach(volume, attachment.generation, {
        readOnly,
        ...(key !== undefined && { key: key.bytes }),
      });
      if (devices.unsupported !== undefined) return { nbdUri };
      return { nbdUri, device: await devices.present(volume.id, socketPath, { readOnly }) };
    } finally {
      key?.erase();
    }
  }

  /** Closes what has this or an older generation. Errors: DomainError 'in-use' while the device is mounted. */
  async close(volume: VolumeId, generation: Generation): Promise<void> {
    const { frontends, devices } = this.#options;
    const attached = frontends.get(volume);
    if (attached !== undefined && attached.generation > generation) return;
    await devices.withdraw(volume);
    await frontends.detach(volume, generation);
  }

  /** After a start: shows again what was attached to this node before it. */
  async restore(attachments: readonly Attachment[], volumes: (id: VolumeId) => Volume | undefined): Promise<void> {
    const { self, logger } = this.#options;
    const mine = attachments.filter((attachment) => attachment.node === self);
    await Promise.all(
      mine.map(async (attachment) => {
        const volume = volumes(attachment.volume);
        if (volume?.phase !== 'ready') return;
        try {
          const { device } = await this.open(volume, attachment);
          logger.info({ volume: volume.id, device }, 'attached volume shown again');
        } catch (err) {
          logger.error({ volume: volume.id, err }, 'attached volume cannot be shown');
        }
      }),
    );
  }

  /**
   * For the agent's end: devices that nobody uses go, what was written to the others is on their volumes; then all
   * frontends, flushed.
   */
  async closeAll(): Promise<void> {
    const { frontends, devices, logger } = this.#options;
    this.#closed = true;
    const making = devices.stop();
    const close = async (volume: VolumeId): Promise<void> => {
      // The kernel waits until it hears that there is no volume.
      if (making.includes(volume)) await frontends.detach(volume);
      try {
        await devices.withdraw(volume);
      } catch (err) {
        logger.warn({ volume, err }, 'block device stays behind, and gives its users errors from now on');
        await devices.sync(volume);
      }
    };
    const failed = (volume: VolumeId) => (err: unknown) =>
      logger.error({ volume, err }, 'what was written to the block device and not synced may be lost');
    await Promise.all(frontends.list().map(({ volume }) => close(volume).catch(failed(volume))));
    await frontends.close();
  }

  /**
   * A newer attachment elsewhere, or a detachment that this node was not asked for: it has nothing to serve any
   * more. What is still mounted is closed when it no longer is.
   */
  onAttachment(volume: VolumeId, attachment: Attachment | undefined): void {
    const { self, frontends } = this.#options;
    const attached = frontends.get(volume);
    if (attached === undefined) return;
    const newest = attachment?.generation ?? (Number.MAX_SAFE_INTEGER as Generation);
    // An etcd that was set back may give the generation of one of which nobody but this node knows to another one.
    if (attached.generation > newest || (attached.generation === newest && attachment?.node === self)) return;
    if (this.#outdated.get(volume) === attached.generation) return;
    this.#outdated.set(volume, attached.generation);
    void this.#closeOutdated(volume, attached.generation);
  }

  async #closeOutdated(volume: VolumeId, generation: Generation): Promise<void> {
    const { frontends, clock, logger } = this.#options;
    if (this.#closed || this.#outdated.get(volume) !== generation) return;
    try {
      if (frontends.get(volume)?.generation === generation) await this.close(volume, generation);
      if (this.#outdated.get(volume) === generation) this.#outdated.delete(volume);
    } catch (err) {
      logger.warn(
        { volume, err, retryMs: CLOSE_RETRY_MS },
        'volume is no longer attached here, but cannot be closed yet',
      );
      clock.after(CLOSE_RETRY_MS, () => void this.#closeOutdated(volume, generation));
    }
  }
}
