export type KeyErrorKind =
  | 'missing'
  /** Not a key file, or of another version or volume. */
  | 'malformed'
  /** Does not open with this cluster key, or was changed. */
  | 'wrong-key'
  /** Readable by others than its owner. */
  | 'exposed';

/** A key cannot be used; the message names the file, never what is in it. */
export class KeyError extends Error {
  readonly kind: KeyErrorKind;
  readonly path: string;
  constructor(kind: KeyErrorKind, path: string, detail: string) {
    super(`${path}: ${detail}`);
    this.name = 'KeyError';
    this.kind = kind;
    this.path = path;
  }
}
