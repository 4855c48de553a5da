/**
 * JSON whose whole numbers of more than 53 bits pass without loss: they are bigints here. Smaller ones are numbers.
 */

import { randomUUID } from 'node:crypto';

/** Precedes the digits of a bigint while JSON's own functions see it as a string; nobody outside can know it. */
const MARK = `${randomUUID()}:`;
const MARKED = new RegExp(`"${MARK}(-?\\d+)"`, 'g');
/** Only with so many digits in a row can there be a number that a double does not hold. */
const LONG_NUMBER = /\d{16}/;
const STRING_OR_NUMBER = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const WHOLE = /^-?\d+$/;

/** Errors: SyntaxError. */
export function parseJson(text: string): unknown {
  const value: unknown = JSON.parse(text);
  if (!LONG_NUMBER.test(text)) return value;
  const marked = text.replaceAll(STRING_OR_NUMBER, (token) =>
    WHOLE.test(token) && !Number.isSafeInteger(Number(token)) ? `"${MARK}${token}"` : token,
  );
  return JSON.parse(marked, (_, member) =>
    typeof member === 'string' && member.startsWith(MARK) ? BigInt(member.slice(MARK.length)) : member,
  );
}

export function formatJson(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch (error) {
    // Bigints are rare and a replacer is slow.
    if (!(error instanceof TypeError)) throw error;
    const marked = JSON.stringify(value, (_, member) => (typeof member === 'bigint' ? `${MARK}${member}` : member));
    return marked.replaceAll(MARKED, '$1');
  }
}
