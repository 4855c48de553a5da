import { expect, test } from 'vitest';
// @ts-expect-error: plain JavaScript, part of the build
import { forward, inverse } from '../../../asm/generate/circuits.mjs';

interface Gate {
  readonly name: string;
  readonly left: string;
  readonly operator: '+' | '*';
  readonly right: string;
}

function run(gates: readonly Gate[], input: number): number {
  const values = new Map<string, number>();
  for (let i = 0; i < 8; i++) values.set(`x${i}`, (input >> (7 - i)) & 1);
  for (const { name, left, operator, right } of gates) {
    const a = values.get(left)!;
    const b = values.get(right)!;
    values.set(name, operator === '+' ? a ^ b : a & b);
  }
  let output = 0;
  for (let i = 0; i < 8; i++) output |= values.get(`s${i}`)! << (7 - i);
  return output;
}

/** FIPS 197, 5.1.1: inversion in GF(2^8), then the affine map. */
function sbox(): number[] {
  const multiply = (a: number, b: number) => {
    let product = 0;
    for (let i = 0; i < 8; i++) {
      if ((b >> i) & 1) product ^= a;
      a = (a << 1) ^ (a & 0x80 ? 0x11b : 0);
    }
    return product;
  };
  return Array.from({ length: 256 }, (_, x) => {
    let inverted = x;
    // x^254
    for (let i = 0; i < 6; i++) inverted = multiply(multiply(inverted, inverted), x);
    inverted = multiply(inverted, inverted);
    let y = 0x63;
    for (let i = 0; i < 5; i++) y ^= ((inverted << i) | (inverted >> (8 - i))) & 0xff;
    return y;
  });
}

test('the S-box circuits are the S-box, but for the constant', () => {
  const table = sbox();
  expect(table.slice(0, 4)).toEqual([0x63, 0x7c, 0x77, 0x7b]);
  expect(table.map((_, x) => run(forward, x) ^ 0x63)).toEqual(table);
  expect(table.map((y) => run(inverse, y ^ 0x63))).toEqual(table.map((_, x) => x));
});

test('they have no more gates than they are known for', () => {
  expect(forward.length).toBe(113);
  expect(inverse.length).toBe(114);
});
