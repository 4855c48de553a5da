import { DomainError } from '../../core/errors.js';
import type { DeploymentId, NodeId } from '../../core/types.js';

/** A node does not answer over the replication network. */
export class PeerUnreachableError extends DomainError {
  readonly node: NodeId;
  constructor(node: NodeId, detail: string, options?: { cause?: unknown }) {
    super('node-unavailable', `node ${node} does not answer: ${detail}`, options);
    this.name = 'PeerUnreachableError';
    this.node = node;
  }
}

/** The node answers, but holds no such deployment, or has not opened it. */
export class NoSuchDeploymentError extends DomainError {
  readonly deployment: DeploymentId;
  constructor(node: NodeId, deployment: DeploymentId) {
    super('not-found', `node ${node} holds no deployment ${deployment}`);
    this.name = 'NoSuchDeploymentError';
    this.deployment = deployment;
  }
}

/** The node has the deployment and cannot open it: what was durable is damaged. Another copy has to replace it. */
export class DamagedDeploymentError extends DomainError {
  constructor(node: NodeId, deployment: DeploymentId) {
    super('invalid-state', `deployment ${deployment} on node ${node} is damaged`);
    this.name = 'DamagedDeploymentError';
  }
}
