/**
 * The numbers and identifiers of the domain, branded so that one is never passed for another.
 * 64 bits wide on the wire and on disk; in memory they are doubles, checked to be at most 2^53 - 1.
 */

declare const brand: unique symbol;
type Brand<T, B extends string> = T & { readonly [brand]: B };

/** Version of a volume's membership; rises with every change. 0 = before the first. */
export type Epoch = Brand<number, 'Epoch'>;
/** Position in a volume's stream of log entries; without gaps, goes on across epochs. 0 = before the first. */
export type Sequence = Brand<number, 'Sequence'>;
/** Index of a block within a volume, in units of the volume's block size. */
export type BlockNumber = Brand<number, 'BlockNumber'>;
/** Rises with every attachment of a volume to a node; frontends of older generations are fenced. */
export type Generation = Brand<number, 'Generation'>;
/** Rises with every connection that a frontend opens to a primary; see replication.md, "Sessions and generations". */
export type SessionNumber = Brand<number, 'SessionNumber'>;

/** RFC 4122 UUID in lower-case text form. */
export type VolumeId = Brand<string, 'VolumeId'>;
export type DeploymentId = Brand<string, 'DeploymentId'>;
export type NodeId = Brand<string, 'NodeId'>;
export type NamespaceId = Brand<string, 'NamespaceId'>;
export type UserId = Brand<string, 'UserId'>;
export type PolicyGroupId = Brand<string, 'PolicyGroupId'>;
/** New whenever a deployment's store opens: tells one life of the process from the next. */
export type Incarnation = Brand<string, 'Incarnation'>;

/** Identity of one write: given by the primary, stored with the block on every deployment, never given twice. */
export interface Order {
  readonly epoch: Epoch;
  readonly sequence: Sequence;
}

/** The order of a block that was never written, and the end of an empty log. */
export const ORDER_ZERO: Order = { epoch: 0 as Epoch, sequence: 0 as Sequence };

/**
 * One activation of a primary: everything of an older epoch behind `startsAfter` did not survive it.
 * Changes of membership under the same primary make no entry.
 */
export interface HistoryEntry {
  readonly epoch: Epoch;
  readonly startsAfter: Sequence;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Whether `text` is a UUID in the form that all ids of this system have. */
export function isUuid(text: string): boolean {
  return UUID.test(text);
}
