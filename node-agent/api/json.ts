/**
 * JSON whose whole numbers of more than 53 bits pass without loss: they are bigints here. Smaller ones are numbers.
 */

import { randomUUID } from 'node:crypto';

/** Precedes the digits of a bigint while JSON's own functions see it as a string; nobody outside can know it. */
const MARK = `${randomUUID()}:`;
const MARKED = new RegExp(`"${MARK}(-?\\d+)"`, 'g');
/** Only with so many digits in a row can there be a number that a double does not hold. */
const LONG_NUMBER = /\d{16}/;
const NUMBER = /-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const WHOLE = /^-?\d+$/;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const MINUS = 0x2d;
const ZERO = 0x30;
const NINE = 0x39;

/** Errors: SyntaxError. */
export function parseJson(text: string): unknown {
  const value: unknown = JSON.parse(text);
  if (!LONG_NUMBER.test(text)) return value;
  const marked = markUnsafe(text);
  if (marked === text) return value;
  return JSON.parse(marked, (_, member) =>
    typeof member === 'string' && member.startsWith(MARK) ? BigInt(member.slice(MARK.length)) : member,
  );
}

/** With a marked string for every whole number that a double does not hold. The text is JSON. */
function markUnsafe(text: string): string {
  let marked = '';
  let copied = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = endOfString(text, at);
    else if (code === MINUS || (code >= ZERO && code <= NINE)) {
      NUMBER.lastIndex = at;
      const [number = ''] = NUMBER.exec(text) ?? [];
      if (WHOLE.test(number) && !Number.isSafeInteger(Number(number))) {
        marked += `${text.slice(copied, at)}"${MARK}${number}"`;
        copied = at + number.length;
      }
      at += number.length - 1;
    }
  }
  return marked + text.slice(copied);
}

/** Of the quote that ends the string that begins at `start`. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); ; end = text.indexOf('"', end + 1)) {
    let backslashes = 0;
    while (text.charCodeAt(end - 1 - backslashes) === BACKSLASH) backslashes++;
    if (backslashes % 2 === 0) return end;
  }
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
