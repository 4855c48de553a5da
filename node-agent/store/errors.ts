/** What the block store reports beside DiskError and BadBlockError (core/ports.ts). */

import type { DiskError } from '../../core/ports.js';
import type { DeploymentId } from '../../core/types.js';

/** A place where bytes that had been durable are not what was written. */
export interface Damage {
  /** File below the data root. */
  readonly path: string;
  /** Byte offset of the damaged structure. */
  readonly offset: number;
  readonly what: string;
  /** It could not be read, is on a device that is not there, or a newer program wrote it: nobody knows whether it is damaged. */
  readonly unread?: true;
}

/** A file that is gone is damage. Any other error of the disk says nothing of what is in the file. */
export function unreadBy({ code }: DiskError): Pick<Damage, 'unread'> {
  return code === 'not-found' ? {} : { unread: true };
}

/**
 * A structure of the deployment that had been durable is damaged, so that what it holds can't be known.
 * It does not open, nothing of it was changed, and another copy has to replace it.
 */
export class StoreCorruptError extends Error {
  readonly deployment: DeploymentId | undefined;
  readonly damages: readonly Damage[];
  constructor(deployment: DeploymentId | undefined, damages: readonly Damage[]) {
    const [first] = damages;
    super(`deployment ${deployment ?? 'unknown'}: ${first?.path} at ${first?.offset}: ${first?.what}`);
    this.name = 'StoreCorruptError';
    this.deployment = deployment;
    this.damages = damages;
  }

  /** Something could not be read: it may be intact, and readable at another time. */
  get unread(): boolean {
    return this.damages.some((damage) => damage.unread === true);
  }
}

/** An error of the disk, or a failed invariant, was final for this opening of the store. */
export class StoreFailedError extends Error {
  constructor(deployment: DeploymentId, options: { cause: unknown }) {
    super(`deployment ${deployment}: the store has failed and must be opened anew`, options);
    this.name = 'StoreFailedError';
  }
}

/** The store was closed, or is being closed. */
export class StoreClosedError extends Error {
  constructor(deployment: DeploymentId) {
    super(`deployment ${deployment}: the store is closed`);
    this.name = 'StoreClosedError';
  }
}

/** The node has no such deployment. */
export class NoSuchDeploymentError extends Error {
  readonly deployment: DeploymentId;
  constructor(deployment: DeploymentId) {
    super(`deployment ${deployment}: not on this node`);
    this.name = 'NoSuchDeploymentError';
    this.deployment = deployment;
  }
}

/** A page of the index is not what was written, or can't be read. */
export class IndexDamageError extends Error {
  readonly damage: Damage;
  constructor(damage: Damage) {
    super(`${damage.path} at ${damage.offset}: ${damage.what}`);
    this.name = 'IndexDamageError';
    this.damage = damage;
  }
}
