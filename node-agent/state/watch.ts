/**
 * Follows every key below the cluster's prefix: a listing, then its changes in order. After every loss of
 * the connection, and after a compaction, it lists again: revisions may have been rolled back meanwhile, so
 * going on from the last one seen proves nothing.
 */

import { Buffer } from 'node:buffer';
import type { IWatchRequest, IWatchResponse } from 'etcd3';
import { DomainError } from '../../core/errors.js';
import type { EtcdConnection, KeyValue } from './etcd.js';
import { prefixEnd } from './keys.js';

const FIRST_RETRY_MS = 50;
const MAX_RETRY_MS = 1000;

export interface WatchEvent {
  readonly key: string;
  /** Undefined: removed. */
  readonly item: KeyValue | undefined;
}

export interface PrefixWatchHandlers {
  /** All keys there are now, first and after every reconnection. If it throws, the connection counts as lost. */
  snapshot(items: readonly KeyValue[], clusterId: string): void;
  events(events: readonly WatchEvent[]): void;
  /** The connection was lost; a snapshot follows when it is back. */
  lost(error: unknown): void;
}

type WatchStream = Awaited<ReturnType<EtcdConnection['client']['watchClient']['watch']>>;

export class PrefixWatch {
  readonly #etcd: EtcdConnection;
  readonly #handlers: PrefixWatchHandlers;
  #stream: WatchStream | undefined;
  #timer: NodeJS.Timeout | undefined;
  #retryMs = FIRST_RETRY_MS;
  #stopped = false;

  constructor(etcd: EtcdConnection, handlers: PrefixWatchHandlers) {
    this.#etcd = etcd;
    this.#handlers = handlers;
  }

  /** Resolves after the first snapshot. Errors: 'store-unavailable'; it has then stopped. */
  async start(): Promise<void> {
    try {
      await this.#listAndFollow();
    } catch (error) {
      this.stop();
      throw error;
    }
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#stream?.cancel();
    this.#stream = undefined;
  }

  async #listAndFollow(): Promise<void> {
    const { header, items } = await this.#etcd.list('');
    if (this.#stopped) return;
    this.#handlers.snapshot(items, header.cluster_id);
    const stream = await this.#etcd.client.watchClient.watch();
    if (this.#stopped) {
      stream.cancel();
      return;
    }
    this.#stream = stream;
    stream.on('data', (response) => this.#onResponse(stream, response));
    stream.on('error', (error) => this.#onLost(stream, error));
    stream.on('end', () => this.#onLost(stream, new DomainError('store-unavailable', 'etcd ended the watch')));
    const request: IWatchRequest = {
      create_request: {
        key: Buffer.from(this.#etcd.prefix),
        range_end: Buffer.from(prefixEnd(this.#etcd.prefix)),
        start_revision: (BigInt(header.revision) + 1n).toString(),
      },
    };
    stream.write(request);
  }

  #onResponse(stream: WatchStream, response: IWatchResponse): void {
    if (stream !== this.#stream) return;
    if (response.canceled) {
      this.#onLost(
        stream,
        new DomainError('store-unavailable', `etcd cancelled the watch, compacted at ${response.compact_revision}`),
      );
      return;
    }
    this.#retryMs = FIRST_RETRY_MS;
    if (response.events.length === 0) return;
    this.#handlers.events(
      response.events.map(({ type, kv }) => {
        const key = this.#etcd.unprefixed(kv.key);
        return { key, item: type === 'Put' ? { key, value: kv.value, revision: kv.mod_revision } : undefined };
      }),
    );
  }

  #onLost(stream: WatchStream | undefined, error: unknown): void {
    if (stream !== this.#stream || this.#stopped) return;
    this.#stream = undefined;
    // A cancelled stream of grpc-js still emits an error, for which the listener above stays.
    stream?.cancel();
    this.#handlers.lost(error);
    this.#timer = setTimeout(() => {
      this.#listAndFollow().catch((failure) => this.#onLost(undefined, failure));
    }, this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, MAX_RETRY_MS);
  }
}
