/**
 * Whether an error, or what has caused it, is one of the language itself: no check has thrown it, so it says that
 * something is broken, and not what.
 */
export function isLanguageError(error: unknown): boolean {
  const kinds = [TypeError, ReferenceError, RangeError, SyntaxError];
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (kinds.some((kind) => cause instanceof kind)) return true;
  }
  return false;
}
