/**
 * Writes the bitsliced AES-256 kernels as AssemblyScript. Generated, because eight bit planes live in eight
 * local variables through more than 2,000 straight-line operations, which no function can return.
 *
 * Representation: eight AES blocks at a time; plane b holds bit b of all 128 bytes, byte p of a plane belongs to
 * byte p of the state, bit k of it to block k. The state is row-major (p = 4 row + column), so that MixColumns'
 * rotations are moves of whole bytes.
 *
 * ShiftRows is never carried out: after r rounds the planes hold the state before the r ShiftRows, MixColumns'
 * rotations are those conjugated with r ShiftRows (four kinds, as four ShiftRows are none), and round keys are
 * stored in the same coordinates. Both directions pass through the same coordinates, so one key schedule
 * serves both; the last permutation is folded into the one that turns row-major into column-major.
 *
 * There is no table lookup and no branch that depends on data: constant time by construction.
 */

import { forward, inverse } from './circuits.mjs';

const ROUNDS = 14;
const BLOCK_BYTES = 16;
const PLANES = 8;

/* Permutations are gathers: applied(p)[i] = v[p[i]]. */

const positions = [...Array(16).keys()];
const rowOf = (p) => p >> 2;
const columnOf = (p) => p & 3;
const at = (row, column) => 4 * (row & 3) + (column & 3);

/** First `a`, then `b`. */
const then = (a, b) => b.map((p) => a[p]);
const identity = positions;
const power = (p, n) => (n === 0 ? identity : then(power(p, n - 1), p));

const shiftRows = positions.map((p) => at(rowOf(p), columnOf(p) + rowOf(p)));
/** Row i receives row i + n. */
const rotateRows = (n) => positions.map((p) => at(rowOf(p) + n, columnOf(p)));
/** Its own inverse: between column-major and row-major. */
const transpose = positions.map((p) => at(columnOf(p), rowOf(p)));

const shifted = (n) => power(shiftRows, ((n % 4) + 4) % 4);
/** `p` in the coordinates after `round` rounds. */
const conjugated = (p, round) => then(then(shifted(round), p), shifted(-round));

const finish = then(shifted(ROUNDS), transpose);
const begin = then(transpose, shifted(-ROUNDS));

/** @param w the writer, which holds the kernel's constants */
function permute(w, value, p) {
  if (p.every((from, to) => from === to)) return value;
  const words = [0, 1, 2, 3].map((word) => p[4 * word]);
  if (words.every((from, word) => from % 4 === 0 && [1, 2, 3].every((i) => p[4 * word + i] === from + i))) {
    return `v128.shuffle<i32>(${value}, ${value}, ${words.map((from) => from / 4).join(', ')})`;
  }
  return `v128.swizzle(${value}, ${w.constant(p)})`;
}

/**
 * Collects statements; every value gets a name of its own. Constants are loaded once, at the start of the kernel:
 * V8 13 (Node 24) builds a v128.const anew at every use, which costs a seventh of the speed; V8 11 and 12 (Node 20,
 * 22) lose 2 % by the load, as they then don't know that a swizzle's indices are in range.
 */
function writer(constants = new Map()) {
  const lines = [];
  let names = 0;
  const define = (expression) => {
    const name = `n${names++}`;
    lines.push(`const ${name} = ${expression};`);
    return name;
  };
  return {
    lines,
    constants,
    /** The name of a vector of these 16 bytes. */
    constant: (bytes) => {
      const key = bytes.join(', ');
      if (!constants.has(key)) constants.set(key, `c${constants.size}`);
      return constants.get(key);
    },
    define,
    xor: (a, b) => define(`v128.xor(${a}, ${b})`),
    and: (a, b) => define(`v128.and(${a}, ${b})`),
    emit: (line) => lines.push(line),
  };
}

/** @param planes least significant first */
function substitute(w, gates, planes) {
  const values = new Map(planes.map((plane, bit) => [`x${7 - bit}`, plane]));
  for (const { name, left, operator, right } of gates) {
    const a = values.get(left);
    const b = values.get(right);
    values.set(name, operator === '+' ? w.xor(a, b) : w.and(a, b));
  }
  return planes.map((_, bit) => values.get(`s${7 - bit}`));
}

/** Bits that multiplying by x (0x02) reaches beyond the shift: x^8 = x^4 + x^3 + x + 1. */
function timesX(w, planes) {
  const top = planes[7];
  return planes.map((_, bit) => {
    if (bit === 0) return top;
    return bit === 1 || bit === 3 || bit === 4 ? w.xor(planes[bit - 1], top) : planes[bit - 1];
  });
}

/** 2 a_i + 3 a_(i+1) + a_(i+2) + a_(i+3), as 2 (a_i + a_(i+1)) + a_(i+1) + (a_(i+2) + a_(i+3)). */
function mixColumns(w, planes, round) {
  const next = planes.map((plane) => w.define(permute(w, plane, conjugated(rotateRows(1), round))));
  const pairs = planes.map((plane, bit) => w.xor(plane, next[bit]));
  const opposite = pairs.map((pair) => w.define(permute(w, pair, conjugated(rotateRows(2), round))));
  const doubled = timesX(w, pairs);
  return planes.map((_, bit) => w.xor(w.xor(doubled[bit], next[bit]), opposite[bit]));
}

/** InvMixColumns = MixColumns after a_i + 4 (a_i + a_(i+2)). */
function unmixColumns(w, planes, round) {
  const sums = planes.map((plane) => w.xor(plane, w.define(permute(w, plane, conjugated(rotateRows(2), round)))));
  const quadrupled = timesX(w, timesX(w, sums));
  return mixColumns(
    w,
    planes.map((plane, bit) => w.xor(plane, quadrupled[bit])),
    round,
  );
}

/** Transposes the 8 x 8 bits that lie at the same byte of eight vectors: blocks to planes and back. */
function transposeBits(w, vectors) {
  const result = [...vectors];
  for (const [distance, mask] of [
    [1, 0x55],
    [2, 0x33],
    [4, 0x0f],
  ]) {
    for (let i = 0; i < 8; i++) {
      if (i & distance) continue;
      const a = result[i];
      const b = result[i + distance];
      const moved = w.and(w.xor(w.define(`i64x2.shr_u(${a}, ${distance})`), b), w.constant(Array(16).fill(mask)));
      result[i + distance] = w.xor(b, moved);
      result[i] = w.xor(a, w.define(`i64x2.shl(${moved}, ${distance})`));
    }
  }
  return result;
}

const planeNames = [...Array(PLANES).keys()].map((bit) => `p${bit}`);

function loadBlocks(w, permutation) {
  const blocks = planeNames.map((_, k) => {
    const value = `v128.xor(v128.load(source, ${k * BLOCK_BYTES}), v128.load(whitening, ${k * BLOCK_BYTES}))`;
    return w.define(permute(w, w.define(value), permutation));
  });
  transposeBits(w, blocks).forEach((value, bit) => {
    w.emit(`let p${bit} = ${value};`);
  });
}

function storeBlocks(w, permutation) {
  transposeBits(w, planeNames).forEach((value, k) => {
    const block = w.define(permute(w, value, permutation));
    w.emit(`v128.store(target, v128.xor(${block}, v128.load(whitening, ${k * BLOCK_BYTES})), ${k * BLOCK_BYTES});`);
  });
}

const roundKey = (round, bit) => `v128.load(key, ${(round * PLANES + bit) * BLOCK_BYTES})`;
const addKey = (w, planes, round) => planes.map((plane, bit) => w.xor(plane, roundKey(round, bit)));

function assign(w, planes) {
  planes.forEach((value, bit) => {
    w.emit(`p${bit} = ${value};`);
  });
}

/** `body` in braces, so that its names are free again after it. */
function scoped(w, body) {
  const inner = writer(w.constants);
  body(inner);
  w.emit('{');
  for (const line of inner.lines) w.emit(`  ${line}`);
  w.emit('}');
}

function encryptKernel() {
  const w = writer();
  w.emit('let key = keys;');
  loadBlocks(w, transpose);
  scoped(w, (s) => assign(s, addKey(s, planeNames, 0)));
  const round = (s, kind, offset) =>
    scoped(s, (t) => assign(t, addKey(t, mixColumns(t, substitute(t, forward, planeNames), kind), offset)));
  w.emit(`for (let turn = 0; turn < 3; turn++, key += ${4 * PLANES * BLOCK_BYTES}) {`);
  for (const kind of [1, 2, 3, 4]) round(w, kind, kind);
  w.emit('}');
  // `key` stands at round 12 now.
  round(w, 13, 1);
  scoped(w, (s) => assign(s, addKey(s, substitute(s, forward, planeNames), 2)));
  scoped(w, (s) => storeBlocks(s, finish));
  return kernel('encrypt8', w);
}

function decryptKernel() {
  const w = writer();
  w.emit(`let key = keys + ${12 * PLANES * BLOCK_BYTES};`);
  loadBlocks(w, begin);
  scoped(w, (s) => assign(s, substitute(s, inverse, addKey(s, planeNames, 2))));
  const round = (s, kind, offset) =>
    scoped(s, (t) => assign(t, substitute(t, inverse, unmixColumns(t, addKey(t, planeNames, offset), kind))));
  round(w, 13, 1);
  w.emit('for (let turn = 0; turn < 3; turn++) {');
  w.emit(`  key -= ${4 * PLANES * BLOCK_BYTES};`);
  for (const kind of [4, 3, 2, 1]) round(w, kind, kind);
  w.emit('}');
  // `key` stands at round 0 now.
  scoped(w, (s) => assign(s, addKey(s, planeNames, 0)));
  scoped(w, (s) => storeBlocks(s, transpose));
  return kernel('decrypt8', w);
}

function kernel(name, w) {
  const table = `${name.toUpperCase()}_CONSTANTS`;
  const constants = [...w.constants];
  const loads = constants.map(([, local], i) => `const ${local} = v128.load(${table}, ${i * BLOCK_BYTES});`);
  return `const ${table}: usize = memory.data<u8>([
${constants.map(([bytes]) => `  ${bytes},`).join('\n')}
], 16);

export function ${name}(source: usize, target: usize, whitening: usize, keys: usize): void {
${[...loads, ...w.lines].map((line) => `  ${line}`).join('\n')}
}
`;
}

/** The S-box on the 16 bytes at `at`, without its constant; for the key expansion. */
function substituteKernel() {
  const w = writer();
  const planes = planeNames.map((_, bit) =>
    w.define(`v128.and(i8x16.ne(v128.and(bytes, i8x16.splat(<i8>${1 << bit})), zero), i8x16.splat(1))`),
  );
  const sum = substitute(w, forward, planes)
    .map((plane, bit) => w.define(`i16x8.shl(${plane}, ${bit})`))
    .reduce((a, b) => w.define(`v128.or(${a}, ${b})`));
  return `export function substitute16(at: usize): void {
  const bytes = v128.load(at);
  const zero = i64x2.splat(0);
${w.lines.map((line) => `  ${line}`).join('\n')}
  v128.store(at, ${sum});
}
`;
}

/** Where each round key's bytes go: the coordinates that the planes have after that round. */
function keyLayout() {
  const layouts = [...Array(ROUNDS + 1).keys()].map((round) => then(transpose, shifted(-round)));
  return `/** For each of the ${ROUNDS + 1} round keys, the permutation into the planes' coordinates. */
export const KEY_LAYOUT: usize = memory.data<u8>([
${layouts.map((layout) => `  ${layout.join(', ')},`).join('\n')}
], 16);
`;
}

export function generateAes() {
  return `// Generated by asm/generate/aes.mjs, which explains it. Not to be edited.
//
// encrypt8, decrypt8: AES-256 on eight blocks; each is XORed with its whitening block before and after.
// The regions source, target and whitening have 128 bytes; source and target may be the same.

${[keyLayout(), encryptKernel(), decryptKernel(), substituteKernel()].join('\n')}`;
}
