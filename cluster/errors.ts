/** What can keep the embedded cluster from doing what it was asked; the message is all that the user needs. */
export type ClusterErrorKind =
  /** An option or an environment variable. */
  | 'invalid'
  /** Another supervisor has the data directory. */
  | 'locked'
  /** The data directory is not one, or is damaged. */
  | 'data-dir'
  /** A port is in use. */
  | 'port'
  /** A child process did not start or ended. */
  | 'child'
  /** The cluster did not do something in time. */
  | 'timeout'
  /** No such node, or not in the state that the command needs. */
  | 'node'
  /** The server is not this cluster's, or not in the state that the command needs. */
  | 'server'
  /** No such volume. */
  | 'volume'
  /** It was to stop before it was up. */
  | 'stopped'
  /** No supervisor is running. */
  | 'not-running';

export class ClusterError extends Error {
  readonly kind: ClusterErrorKind;
  constructor(kind: ClusterErrorKind, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'ClusterError';
    this.kind = kind;
  }
}
