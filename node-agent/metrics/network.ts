/** What the volumes attached to this node send to primaries on other nodes. Counted around the sessions' connector. */

import type { Registry } from 'prom-client';
import type { FrontendMessage, SessionMessage } from '../../core/messages.js';
import type { SessionChannel, SessionConnector, SessionEvents } from '../../core/ports.js';
import type { NodeId, VolumeId } from '../../core/types.js';
import { VolumeMetrics, type VolumeNames } from './volumes.js';

export interface DirectionStats {
  operations: number;
  /** Of payloads as they are sent: compressed and encrypted. */
  bytes: number;
  errors: number;
  /** Sent again, in a new session: whether the first one was carried out was not known. */
  retries: number;
}

export interface NetworkStats {
  readonly read: DirectionStats;
  readonly write: DirectionStats;
  /** Sessions opened or tried. */
  sessions: number;
}

const zero = (): DirectionStats => ({ operations: 0, bytes: 0, errors: 0, retries: 0 });

/** A connector that counts what goes over the network; what stays on this node is not touched. */
export class MeteredConnector implements SessionConnector {
  readonly #inner: SessionConnector;
  readonly #self: NodeId;
  readonly #volumes = new Map<VolumeId, Traffic>();

  constructor(inner: SessionConnector, self: NodeId) {
    this.#inner = inner;
    this.#self = self;
  }

  /** Forgets what is no longer attached. */
  stats(attached: readonly VolumeId[]): { readonly volume: VolumeId; readonly stats: NetworkStats }[] {
    const present = new Set(attached);
    for (const volume of this.#volumes.keys()) if (!present.has(volume)) this.#volumes.delete(volume);
    return [...this.#volumes].map(([volume, { stats }]) => ({ volume, stats }));
  }

  connect(target: Parameters<SessionConnector['connect']>[0], events: SessionEvents): SessionChannel {
    if (target.node === this.#self) return this.#inner.connect(target, events);
    let traffic = this.#volumes.get(target.volume);
    if (traffic === undefined) {
      traffic = new Traffic();
      this.#volumes.set(target.volume, traffic);
    }
    return traffic.connect(this.#inner, target, events);
  }
}

class Traffic {
  readonly stats: NetworkStats = { read: zero(), write: zero(), sessions: 0 };
  /** Numbers of requests rise, so a lower one was sent before. */
  #highest = -1;

  connect(
    inner: SessionConnector,
    target: Parameters<SessionConnector['connect']>[0],
    events: SessionEvents,
  ): SessionChannel {
    this.stats.sessions++;
    const channel = inner.connect(target, {
      message: (message) => {
        this.#answered(message);
        events.message(message);
      },
      closed: (reason) => events.closed(reason),
    });
    return {
      send: (message) => {
        this.#sent(message);
        channel.send(message);
      },
      close: () => channel.close(),
    };
  }

  #sent(message: FrontendMessage): void {
    if (message.type !== 'read' && message.type !== 'write') return;
    const direction = this.stats[message.type];
    if (message.request <= this.#highest) direction.retries++;
    else this.#highest = message.request;
    if (message.type === 'write') direction.bytes += message.batch.payload.length;
  }

  #answered(message: SessionMessage): void {
    if (message.type !== 'data' && message.type !== 'written') return;
    const direction = message.type === 'data' ? this.stats.read : this.stats.write;
    direction.operations++;
    if (message.status !== 'ok') direction.errors++;
    else if (message.type === 'data') direction.bytes += message.batch.payload.length;
  }
}

export interface NetworkSources extends VolumeNames {
  readonly network: () => readonly { readonly volume: VolumeId; readonly stats: NetworkStats }[];
}

export function registerNetworkMetrics(registry: Registry, sources: NetworkSources): void {
  const metrics = new VolumeMetrics(registry, sources, 'presentation', sources.network);
  for (const kind of ['read', 'write'] as const) {
    const of = `${kind}s by a primary on another node`;
    metrics.counter(`network_${kind}_total`, `${of} that were answered`, ({ stats }) => stats[kind].operations);
    metrics.counter(
      `network_${kind}_bytes_total`,
      `payload of ${of}, compressed and encrypted`,
      ({ stats }) => stats[kind].bytes,
    );
    metrics.counter(`network_${kind}_error_total`, `${of} that failed`, ({ stats }) => stats[kind].errors);
    metrics.counter(
      `network_${kind}_retry_total`,
      `${of} that were sent again in a new session`,
      ({ stats }) => stats[kind].retries,
    );
  }
  metrics.counter(
    'network_sessions_total',
    'sessions with a primary on another node that were tried',
    ({ stats }) => stats.sessions,
  );
}
