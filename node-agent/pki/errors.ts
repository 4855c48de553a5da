export type PkiErrorKind =
  | 'missing'
  | 'malformed'
  | 'expired'
  | 'not-yet-valid'
  /** Not signed by the cluster's authority. */
  | 'wrong-authority'
  /** Certificate and private key do not belong together. */
  | 'key-mismatch'
  /** The certificate names no node, or another one. */
  | 'wrong-node';

/** A certificate or key cannot be used; the message names the file or whose certificate it is, never a key. */
export class PkiError extends Error {
  readonly kind: PkiErrorKind;
  constructor(kind: PkiErrorKind, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'PkiError';
    this.kind = kind;
  }
}
