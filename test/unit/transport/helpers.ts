import { randomUUID } from 'node:crypto';
import { pino } from 'pino';
import type { PeerEnvelope } from '../../../core/messages.js';
import type { NodeId } from '../../../core/types.js';
import { systemClock, systemRandom } from '../../../node-agent/clock.js';
import type { Endpoint } from '../../../node-agent/config.js';
import {
  createAuthority,
  issueNodeCertificate,
  type KeyPair,
  type TlsIdentity,
} from '../../../node-agent/pki/index.js';
import { type NetworkEvents, ReplicationNetwork } from '../../../node-agent/replication/network.js';
import type { OpenTarget } from '../../../node-agent/replication/sessions.js';
import { DEFAULT_TRANSPORT_SETTINGS, type TransportSettings } from '../../../node-agent/replication/settings.js';

export const logger = pino({ level: 'silent' });
export const CLUSTER = '99999999-2222-4333-8444-555555555555';

export async function identity(authority: KeyPair, node: NodeId): Promise<TlsIdentity> {
  const issued = await issueNodeCertificate(authority, { node, name: 'test', addresses: ['127.0.0.1'] });
  return { node, ca: authority.certificate, cert: issued.certificate, key: issued.key, notAfter: '' };
}

export function nodeIds(count: number): NodeId[] {
  return Array.from({ length: count }, () => randomUUID() as string as NodeId).sort();
}

/** Waits for something that other parties bring about; the time-out is for a test that would hang. */
export async function eventually(holds: () => boolean, what = 'condition'): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export interface TestNode {
  readonly id: NodeId;
  readonly network: ReplicationNetwork;
  readonly endpoint: Endpoint;
  readonly log: string[];
  readonly messages: PeerEnvelope[];
}

export interface TestNodeOptions {
  readonly settings?: Partial<TransportSettings>;
  readonly cluster?: string;
  readonly identity?: TlsIdentity;
  readonly events?: Partial<NetworkEvents>;
  readonly openSession?: OpenTarget;
}

/** A cluster of networks on loopback ports that the system chooses, with one authority. */
export class TestCluster {
  readonly addresses = new Map<NodeId, Endpoint>();
  readonly nodes: TestNode[] = [];
  readonly authority: KeyPair;

  private constructor(authority: KeyPair) {
    this.authority = authority;
  }

  static async create(): Promise<TestCluster> {
    return new TestCluster(await createAuthority({ cluster: CLUSTER }));
  }

  async add(id: NodeId, options: TestNodeOptions = {}): Promise<TestNode> {
    const log: string[] = [];
    const messages: PeerEnvelope[] = [];
    const network = new ReplicationNetwork({
      self: id,
      cluster: options.cluster ?? CLUSTER,
      identity: options.identity ?? (await identity(this.authority, id)),
      bind: { host: '127.0.0.1', port: 0 },
      address: (node) => this.addresses.get(node),
      clock: systemClock,
      random: systemRandom,
      settings: { ...DEFAULT_TRANSPORT_SETTINGS, ...options.settings },
      logger,
      events: {
        peerUp: (node) => log.push(`up ${node}`),
        peerDown: (node) => log.push(`down ${node}`),
        message: (envelope) => messages.push(envelope),
        request: async (_node, method, args) => ({ method, args }),
        ...options.events,
      },
      openSession:
        options.openSession ??
        (() => {
          throw new Error('no sessions in this test');
        }),
    });
    const endpoint = await network.start();
    this.addresses.set(id, endpoint);
    const node = { id, network, endpoint, log, messages };
    this.nodes.push(node);
    return node;
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map(({ network }) => network.stop()));
  }
}
