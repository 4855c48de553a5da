import { describe, expect, it } from 'vitest';
import { formatJson, parseJson } from '../../../node-agent/api/json.js';

describe('JSON with whole numbers of 64 bits', () => {
  it.each([
    ['18446744073709551615', 18446744073709551615n],
    ['-9223372036854775808', -9223372036854775808n],
    ['9007199254740991', 9007199254740991],
    ['9007199254740992', 9007199254740992n],
    [
      '{"id":18446744073709551614,"name":"18446744073709551614"}',
      { id: 18446744073709551614n, name: '18446744073709551614' },
    ],
    ['["a\\"9999999999999999999\\\\",9999999999999999999]', ['a"9999999999999999999\\', 9999999999999999999n]],
    ['0.1234567890123456', 0.1234567890123456],
    ['1e30', 1e30],
    ['[]', []],
  ])('%s', (text, value) => {
    expect(parseJson(text)).toEqual(value);
    expect(parseJson(formatJson(value))).toEqual(value);
  });

  it('finds them behind any string, and never in one', () => {
    const strings = ['"', '\\', '\\"', 'x\\\\', '12345678901234567890', '"12345678901234567890"', '\n\u0000é'];
    for (const string of strings) {
      const quoted = JSON.stringify(string);
      const text = `{${quoted}: [12345678901234567890, ${quoted}, -1,-9007199254740993]}`;
      expect(parseJson(text)).toEqual({ [string]: [12345678901234567890n, string, -1, -9007199254740993n] });
    }
  });

  it('writes digits, not strings', () => {
    expect(formatJson({ id: 2n ** 64n - 1n, exact: '1' })).toBe('{"id":18446744073709551615,"exact":"1"}');
  });

  it.each(['', '{', '01234567890123456789', '{12345678901234567890:1}', '12345678901234567890x', '+1'])(
    'refuses %s',
    (text) => {
      expect(() => parseJson(text)).toThrow(SyntaxError);
    },
  );

  it('what no JSON can say is refused as ever', () => {
    const cycle: { self?: unknown; id: bigint } = { id: 1n };
    cycle.self = cycle;
    expect(() => formatJson(cycle)).toThrow(TypeError);
  });
});
