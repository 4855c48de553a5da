/**
 * What two states have in common if they are the same: everything that can be reached from an object, by value, with
 * the shape of the references between. Private fields only behind `visible-fields.ts`. What a function has captured
 * does not show, only which function it is; nor does where a suspended one goes on.
 */

import { createHash, type Hash } from 'node:crypto';
import { inspect } from 'node:util';

/** An object with this method stands for what it returns: what of it is the state. */
export const STATE = Symbol('state');

interface Stateful {
  [STATE](): unknown;
}

class Hidden {
  readonly #field = 0;

  /** The field is read, so that it is there. */
  get visible(): boolean {
    return this.#field === 0 && Object.keys(this).length > 0;
  }
}

/** `others`: what is met of these counts by its name only. */
export function fingerprint(root: object, others: ReadonlyMap<object, string>): string {
  if (!new Hidden().visible) throw new Error('private fields are hidden: visible-fields.ts has to be registered first');
  const walk = new Walk(root, others);
  walk.add(root);
  return walk.digest();
}

class Walk {
  readonly #root: object;
  readonly #others: ReadonlyMap<object, string>;
  readonly #hash: Hash = createHash('sha1');
  readonly #met = new Map<object, number>();
  #text: string[] = [];

  constructor(root: object, others: ReadonlyMap<object, string>) {
    this.#root = root;
    this.#others = others;
  }

  digest(): string {
    return this.#hash.update(this.#text.join(';')).digest('base64');
  }

  add(value: unknown): void {
    if (typeof value === 'function') this.#text.push(value.toString());
    else if (typeof value !== 'object' || value === null) this.#text.push(typeof value, String(value));
    else {
      const known = this.#met.get(value);
      const other = value === this.#root ? undefined : this.#others.get(value);
      if (known !== undefined) this.#text.push(`@${known}`);
      else if (other !== undefined) this.#text.push(`the ${other}`);
      else {
        this.#met.set(value, this.#met.size);
        this.#object(value);
      }
    }
  }

  #object(value: object): void {
    if (STATE in value) this.add((value as Stateful)[STATE]());
    else if (ArrayBuffer.isView(value)) this.#bytes(value);
    else if (value instanceof Promise) this.#text.push(inspect(value, { depth: 0 }));
    else if (value instanceof Map) {
      this.#text.push('map', String(value.size));
      for (const [key, entry] of value) {
        this.add(key);
        this.add(entry);
      }
    } else if (Array.isArray(value) || value instanceof Set) {
      const entries = [...value];
      this.#text.push(Array.isArray(value) ? 'list' : 'set', String(entries.length));
      for (const entry of entries) this.add(entry);
    } else this.#fields(value);
  }

  #fields(value: object): void {
    this.#text.push(value.constructor?.name ?? 'bare');
    for (const name of Object.keys(value)) {
      this.#text.push(name);
      const get = Object.getOwnPropertyDescriptor(value, name)!.get;
      this.add(get ?? (value as Record<string, unknown>)[name]);
    }
  }

  #bytes({ buffer, byteOffset, byteLength }: ArrayBufferView): void {
    this.#text.push('bytes', String(byteLength), '');
    this.#hash.update(this.#text.join(';')).update(new Uint8Array(buffer, byteOffset, byteLength));
    this.#text = [];
  }
}
