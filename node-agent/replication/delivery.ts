/** Brings what other nodes and frontends say to the deployments that it is for. */

import { type PeerEnvelope, type PeerMessage, PRIMARY_REQUESTS } from '../../core/messages.js';
import { type Incarnation, type NodeId, ORDER_ZERO, type VolumeId } from '../../core/types.js';
import type { HostedDeployment } from './hosted-deployment.js';
import type { LocalDeployments } from './local-deployments.js';
import type { OpenTarget } from './sessions.js';
import type { EncodedFrame } from './wire-fields.js';
import { encodePeerMessage } from './wire-peer.js';

/** Stands in a refusal by a node that has no such deployment, and so no incarnation. */
const NO_INCARNATION = '00000000-0000-0000-0000-000000000000' as Incarnation;
const REFUSABLE = new Map(PRIMARY_REQUESTS.map((type) => [type as PeerMessage['type'], type]));

export interface DeliveryOptions {
  readonly deployments: LocalDeployments;
  /** Where etcd has the volume's primary, if it has told. */
  readonly primaryNode: (volume: VolumeId) => NodeId | undefined;
  readonly send: (node: NodeId, frame: EncodedFrame) => void;
}

export class Delivery {
  readonly #options: DeliveryOptions;

  constructor(options: DeliveryOptions) {
    this.#options = options;
  }

  /** From another node's deployment. What asks for one that is not here is refused. Errors: WireError. */
  message(envelope: PeerEnvelope): void {
    const { deployments } = this.#options;
    const hosted = deployments.find(envelope.to);
    if (hosted === undefined || hosted.volume !== envelope.volume) {
      this.#refuse(envelope);
      return;
    }
    deployments.guard(hosted, () => hosted.onMessage(envelope));
  }

  #refuse(envelope: PeerEnvelope): void {
    const { volume, from, fromNode, to, message } = envelope;
    const of = REFUSABLE.get(message.type);
    if (of === undefined) return;
    const refusal = {
      type: 'refused',
      epoch: message.epoch,
      incarnation: NO_INCARNATION,
      of,
      reason: 'no-deployment',
      last: ORDER_ZERO,
    } as const;
    this.#options.send(fromNode, encodePeerMessage({ volume, from: to, to: from }, refusal));
  }

  /** A frontend's session, from this node or another one. */
  readonly openSession: OpenTarget = (address, end) => {
    const { deployments, primaryNode } = this.#options;
    const local = (): HostedDeployment | undefined => {
      const hosted = deployments.find(address.deployment);
      return hosted?.volume === address.volume ? hosted : undefined;
    };
    return {
      open: (link, message) => {
        const hosted = local();
        if (hosted !== undefined) {
          deployments.guard(hosted, () => hosted.openSession(link, message, end));
          return;
        }
        const primary = primaryNode(address.volume);
        const rejected = { type: 'rejected', session: message.session, reason: 'not-primary' } as const;
        link.send(primary === undefined ? rejected : { ...rejected, primary });
      },
      message: (link, message) => {
        const hosted = local();
        if (hosted !== undefined) deployments.guard(hosted, () => hosted.onFrontend(link, message));
      },
      closed: (link) => {
        const hosted = local();
        if (hosted !== undefined) deployments.guard(hosted, () => hosted.onSessionClosed(link));
      },
    };
  };
}
